package wire

import (
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Filter is one entry of a SUBSCRIBE.
type Filter struct {
	Filter            string // well-formed text, otherwise unchecked
	QoS               uint8
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    uint8 // 0, 1 or 2
}

// Subscribe is a SUBSCRIBE. It owns its bytes.
type Subscribe struct {
	PacketID   uint16
	Identifier uint32 // subscription identifier; 0 is none
	Filters    []Filter
}

// Unsubscribe is an UNSUBSCRIBE. It owns its bytes.
type Unsubscribe struct {
	PacketID uint16
	Filters  []string
}

// DecodeSubscribe reads the body of a SUBSCRIBE.
func DecodeSubscribe(flags byte, body []byte, v5 bool) (*Subscribe, error) {
	s := &Subscribe{}
	err := checkFilters(TypeSubscribe, body, v5, func(p Property) {
		if p.ID == PropSubscriptionIdentifier {
			s.Identifier = p.Num
		}
	})
	if err != nil {
		return nil, err
	}
	pk, err := decodeWith(TypeSubscribe, flags, body, v5, (*packets.Packet).SubscribeDecode)
	if err != nil {
		return nil, err
	}
	s.PacketID = pk.PacketID
	s.Filters = make([]Filter, 0, len(pk.Filters))
	for i := range pk.Filters {
		f := &pk.Filters[i]
		if f.NoLocal && strings.HasPrefix(f.Filter, "$share/") {
			return nil, violation("no local on a shared subscription")
		}
		s.Filters = append(s.Filters, Filter{
			Filter: f.Filter, QoS: f.Qos, NoLocal: f.NoLocal,
			RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling,
		})
	}
	return s, nil
}

// DecodeUnsubscribe reads the body of an UNSUBSCRIBE.
func DecodeUnsubscribe(flags byte, body []byte, v5 bool) (*Unsubscribe, error) {
	if err := checkFilters(TypeUnsubscribe, body, v5, nil); err != nil {
		return nil, err
	}
	pk, err := decodeWith(TypeUnsubscribe, flags, body, v5, (*packets.Packet).UnsubscribeDecode)
	if err != nil {
		return nil, err
	}
	u := &Unsubscribe{PacketID: pk.PacketID, Filters: make([]string, 0, len(pk.Filters))}
	for i := range pk.Filters {
		u.Filters = append(u.Filters, pk.Filters[i].Filter)
	}
	return u, nil
}

// checkFilters walks over the body of a SUBSCRIBE or UNSUBSCRIBE.
func checkFilters(t Type, body []byte, v5 bool, see func(Property)) error {
	id, body, ok := cutUint16(body)
	if !ok {
		return malformed("packet identifier")
	}
	if id == 0 {
		return violation("packet identifier 0")
	}
	if v5 {
		block, rest, err := cutProperties(body)
		if err != nil {
			return err
		}
		if err := checkProperties(block, t, see); err != nil {
			return err
		}
		body = rest
	}
	if len(body) == 0 {
		return violation("no topic filter")
	}
	for len(body) > 0 {
		if _, body, ok = cutText(body); !ok {
			return malformed("topic filter")
		}
		if t == TypeUnsubscribe {
			continue
		}
		if len(body) == 0 {
			return malformed("subscription options")
		}
		if err := checkOptions(body[0], v5); err != nil {
			return err
		}
		body = body[1:]
	}
	return nil
}

func checkOptions(options byte, v5 bool) error {
	switch {
	case options&3 == 3 && v5:
		return violation("subscription QoS 3")
	case options&3 == 3:
		return malformed("subscription QoS 3")
	case v5 && options&0xc0 != 0, !v5 && options&^3 != 0:
		return malformed("reserved subscription options")
	case options>>4&3 == 3:
		return violation("retain handling 3")
	}
	return nil
}
