package wire

import "github.com/mochi-mqtt/server/v2/packets"

// Connack is a CONNACK. What is zero is left away.
type Connack struct {
	SessionPresent bool
	Reason         Reason
	Detail         string // reason string
	// The rest is of MQTT 5 and is sent with Success only.
	AssignedClientID  string
	HasSessionExpiry  bool
	SessionExpiry     uint32
	HasKeepAlive      bool
	KeepAlive         uint16
	ReceiveMaximum    uint16
	TopicAliasMaximum uint16
	MaximumPacketSize uint32
}

// Append appends the packet to dst.
func (c *Connack) Append(dst []byte, v5 bool) ([]byte, error) {
	pk := &packets.Packet{SessionPresent: c.SessionPresent, ReasonCode: byte(c.Reason)}
	if !v5 {
		pk.ReasonCode = c.Reason.ConnackCode()
	}
	pk.Properties.ReasonString = c.Detail
	if c.Reason == Success {
		pk.Properties.AssignedClientID = c.AssignedClientID
		pk.Properties.SessionExpiryIntervalFlag = c.HasSessionExpiry
		pk.Properties.SessionExpiryInterval = c.SessionExpiry
		pk.Properties.ServerKeepAliveFlag = c.HasKeepAlive
		pk.Properties.ServerKeepAlive = c.KeepAlive
		pk.Properties.ReceiveMaximum = c.ReceiveMaximum
		pk.Properties.TopicAliasMaximum = c.TopicAliasMaximum
		pk.Properties.MaximumPacketSize = c.MaximumPacketSize
		pk.Properties.RetainAvailable, pk.Properties.RetainAvailableFlag = 1, true
		pk.Properties.WildcardSubAvailable, pk.Properties.WildcardSubAvailableFlag = 1, true
		pk.Properties.SubIDAvailable, pk.Properties.SubIDAvailableFlag = 1, true
		pk.Properties.SharedSubAvailable, pk.Properties.SharedSubAvailableFlag = 1, true
	}
	return encodeWith(dst, TypeConnack, v5, pk, (*packets.Packet).ConnackEncode)
}

// AppendSuback appends a SUBACK, or an UNSUBACK, with a code per filter.
func AppendSuback(dst []byte, t Type, id uint16, reasons []Reason, detail string, v5 bool) ([]byte, error) {
	pk := &packets.Packet{PacketID: id, ReasonCodes: make([]byte, len(reasons))}
	for i, r := range reasons {
		pk.ReasonCodes[i] = byte(r)
		if !v5 && r.Failed() {
			pk.ReasonCodes[i] = 0x80
		}
	}
	pk.Properties.ReasonString = detail
	if t == TypeUnsuback {
		return encodeWith(dst, t, v5, pk, (*packets.Packet).UnsubackEncode)
	}
	return encodeWith(dst, t, v5, pk, (*packets.Packet).SubackEncode)
}

// AppendDisconnect appends a DISCONNECT of the server, which only MQTT 5 has.
func AppendDisconnect(dst []byte, r Reason, detail string) ([]byte, error) {
	pk := &packets.Packet{ReasonCode: byte(r)}
	pk.Properties.ReasonString = detail
	return encodeWith(dst, TypeDisconnect, true, pk, (*packets.Packet).DisconnectEncode)
}

// Disconnect is a DISCONNECT of a client.
type Disconnect struct {
	Reason           Reason
	HasSessionExpiry bool
	SessionExpiry    uint32
}

// DecodeDisconnect reads the body of a DISCONNECT.
func DecodeDisconnect(body []byte, v5 bool) (Disconnect, error) {
	var d Disconnect
	if len(body) == 0 {
		return d, nil
	}
	if !v5 {
		return d, malformed("DISCONNECT with a body")
	}
	d.Reason = Reason(body[0])
	if !validDisconnectReason(d.Reason) {
		return d, violation("reason code")
	}
	if len(body) == 1 { // mochi reads this form as reason 0
		return d, nil
	}
	block, rest, err := cutProperties(body[1:])
	if err != nil {
		return d, err
	}
	if len(rest) > 0 {
		return d, malformed("bytes after the properties")
	}
	if err := checkProperties(block, TypeDisconnect, nil); err != nil {
		return d, err
	}
	pk, err := decodeWith(TypeDisconnect, 0, body, v5, (*packets.Packet).DisconnectDecode)
	if err != nil {
		return d, err
	}
	d.HasSessionExpiry = pk.Properties.SessionExpiryIntervalFlag
	d.SessionExpiry = pk.Properties.SessionExpiryInterval
	return d, nil
}

// validDisconnectReason tells whether a client may say the reason.
func validDisconnectReason(r Reason) bool {
	switch r {
	case Success, DisconnectWithWill, UnspecifiedError, MalformedPacket, ProtocolError,
		ImplementationSpecific, TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid,
		PacketTooLarge, 0x96, QuotaExceeded, 0x98, 0x99:
		return true
	default:
		return false
	}
}

// CheckAuth checks the body of an AUTH packet.
func CheckAuth(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	if body[0] != 0x00 && body[0] != 0x18 && body[0] != 0x19 {
		return violation("reason code")
	}
	if len(body) == 1 {
		return nil
	}
	block, rest, err := cutProperties(body[1:])
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return malformed("bytes after the properties")
	}
	return checkProperties(block, TypeAuth, nil)
}
