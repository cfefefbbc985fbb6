package wire

import (
	"bytes"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Connect is a CONNECT. It owns its bytes.
type Connect struct {
	V5        bool
	ClientID  string // may be empty
	Clean     bool
	KeepAlive time.Duration // 0 is none
	HasUser   bool
	User      string
	Password  []byte
	Will      *Will // nil when there is none

	// The rest is of MQTT 5. ReceiveMaximum is 65,535 and RequestProblemInfo
	// true when absent; MaximumPacketSize is 0 when there is no limit.
	HasSessionExpiry   bool
	SessionExpiry      uint32 // seconds; 0xFFFFFFFF is for ever
	ReceiveMaximum     uint16
	MaximumPacketSize  uint32
	TopicAliasMaximum  uint16
	RequestProblemInfo bool
	AuthMethod         string
}

// Will is the message that is published when the connection is lost.
type Will struct {
	Topic      []byte
	Properties []byte // as for a PUBLISH, without the will delay
	Payload    []byte // may be empty
	QoS        uint8
	Retain     bool
	Delay      time.Duration
	HasExpiry  bool
	Expiry     uint32 // message expiry interval in seconds
}

// connectFields are the parts of a CONNECT found by checkConnect. The slices
// alias the packet.
type connectFields struct {
	version    byte
	flags      byte
	properties []byte
	will       []byte // will properties
}

const (
	flagReserved = 1 << 0
	flagClean    = 1 << 1
	flagWill     = 1 << 2
	flagRetain   = 1 << 5
	flagPassword = 1 << 6
	flagUser     = 1 << 7
)

// DecodeConnect reads the body of a CONNECT. The result is not nil with an
// error too when the protocol version is known, so that the refusal can be
// written in it.
func DecodeConnect(body []byte) (*Connect, error) {
	f, err := checkConnect(body)
	c := &Connect{V5: f.version >= 5, ReceiveMaximum: 65_535, RequestProblemInfo: true}
	if err != nil {
		return c, err
	}
	pk, err := decodeWith(TypeConnect, 0, body, c.V5, (*packets.Packet).ConnectDecode)
	if err != nil {
		return c, err
	}
	c.ClientID = pk.Connect.ClientIdentifier
	c.Clean = pk.Connect.Clean
	c.KeepAlive = time.Duration(pk.Connect.Keepalive) * time.Second
	c.HasUser = pk.Connect.UsernameFlag
	c.User = string(pk.Connect.Username)
	c.Password = pk.Connect.Password
	c.HasSessionExpiry = pk.Properties.SessionExpiryIntervalFlag
	c.SessionExpiry = pk.Properties.SessionExpiryInterval
	c.MaximumPacketSize = pk.Properties.MaximumPacketSize
	c.TopicAliasMaximum = pk.Properties.TopicAliasMaximum
	c.AuthMethod = pk.Properties.AuthenticationMethod
	if pk.Properties.ReceiveMaximum > 0 {
		c.ReceiveMaximum = pk.Properties.ReceiveMaximum
	}
	if pk.Properties.RequestProblemInfoFlag {
		c.RequestProblemInfo = pk.Properties.RequestProblemInfo != 0
	}
	if pk.Connect.WillFlag {
		if c.Will, err = newWill(pk, f.will); err != nil {
			return c, err
		}
	}
	return c, nil
}

func newWill(pk *packets.Packet, block []byte) (*Will, error) {
	w := &Will{
		Topic:   []byte(pk.Connect.WillTopic),
		Payload: pk.Connect.WillPayload,
		QoS:     pk.Connect.WillQos,
		Retain:  pk.Connect.WillRetain,
	}
	if !ValidTopic(w.Topic) {
		return nil, &Error{Reason: TopicNameInvalid, Detail: "will topic"}
	}
	w.Properties = bytes.Clone(block)
	var delay Property
	err := checkProperties(block, typeWill, func(p Property) {
		switch p.ID {
		case PropWillDelay:
			delay = p
			w.Delay = time.Duration(p.Num) * time.Second
		case PropMessageExpiry:
			w.HasExpiry, w.Expiry = true, p.Num
		}
	})
	if delay.End > 0 {
		w.Properties = cutOut(w.Properties, delay.Start, delay.End)
	}
	return w, err
}

// checkConnect walks over the whole packet: every length, text, flag and
// property, and that nothing follows.
func checkConnect(body []byte) (f connectFields, err error) {
	name, body, ok := cutText(body)
	if !ok || len(body) < 1 {
		return f, malformed("protocol name")
	}
	f.version, body = body[0], body[1:]
	known := string(name) == "MQTT" && (f.version == 4 || f.version == 5) ||
		string(name) == "MQIsdp" && f.version == 3
	if !known {
		return f, &Error{Reason: UnsupportedVersion, Detail: "protocol name or version"}
	}
	if len(body) < 3 { // flags and keep alive
		return f, malformed("connect flags")
	}
	f.flags, body = body[0], body[3:]
	if err := f.checkFlags(); err != nil {
		return f, err
	}
	if f.version == 5 {
		if f.properties, body, err = cutProperties(body); err != nil {
			return f, err
		}
		if err := checkConnectProperties(f.properties); err != nil {
			return f, err
		}
	}
	return f, f.checkPayload(body)
}

func (f *connectFields) checkFlags() error {
	qos := f.flags >> 3 & 3
	switch {
	case f.flags&flagReserved != 0:
		return malformed("reserved connect flag")
	case qos == 3:
		return malformed("will QoS 3")
	case f.flags&flagWill == 0 && (qos != 0 || f.flags&flagRetain != 0):
		return malformed("will flags without a will")
	case f.version < 5 && f.flags&flagPassword != 0 && f.flags&flagUser == 0:
		return malformed("password without a user name")
	}
	return nil
}

func (f *connectFields) checkPayload(body []byte) (err error) {
	_, body, ok := cutText(body)
	if !ok {
		return &Error{Reason: ClientIDNotValid, Detail: "client identifier"}
	}
	if f.flags&flagWill != 0 {
		if f.version == 5 {
			if f.will, body, err = cutProperties(body); err != nil {
				return err
			}
			if err := checkWillProperties(f.will); err != nil {
				return err
			}
		}
		if _, body, ok = cutText(body); !ok {
			return malformed("will topic")
		}
		if _, body, ok = cutBinary(body); !ok {
			return malformed("will payload")
		}
	}
	if f.flags&flagUser != 0 {
		if _, body, ok = cutText(body); !ok {
			return malformed("user name")
		}
	}
	if f.flags&flagPassword != 0 {
		if _, body, ok = cutBinary(body); !ok {
			return malformed("password")
		}
	}
	if len(body) > 0 {
		return malformed("bytes after the CONNECT payload")
	}
	return nil
}

func checkConnectProperties(block []byte) error {
	var method, data bool
	err := checkProperties(block, TypeConnect, func(p Property) {
		method = method || p.ID == PropAuthMethod
		data = data || p.ID == PropAuthData
	})
	if err == nil && data && !method {
		return violation("authentication data without a method")
	}
	return err
}

func checkWillProperties(block []byte) error {
	topic := true
	err := checkProperties(block, typeWill, func(p Property) {
		if p.ID == PropResponseTopic {
			topic = ValidTopic(p.Data)
		}
	})
	if err == nil && !topic {
		return violation("response topic of the will")
	}
	return err
}
