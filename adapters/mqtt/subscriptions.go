package mqtt

import (
	"encoding/binary"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// options are the parts of a subscription that matter when a message is sent.
type options struct {
	qos         uint8
	asPublished bool
	identifier  uint32 // 0 is none
}

// subscriptions is an immutable view of a session's subscriptions.
type subscriptions struct {
	byID    map[core.SubID]options
	filters map[string]struct{}
}

func newSubscriptions(list []core.Subscription) *subscriptions {
	s := &subscriptions{}
	if len(list) == 0 {
		return s
	}
	s.byID = make(map[core.SubID]options, len(list))
	s.filters = make(map[string]struct{}, len(list))
	for i := range list {
		o := parseOptions(list[i].Data)
		o.qos = list[i].QoS
		s.byID[list[i].ID] = o
		s.filters[list[i].Filter] = struct{}{}
	}
	return s
}

func (s *subscriptions) has(filter string) bool {
	_, ok := s.filters[filter]
	return ok
}

// match joins the options of the subscriptions that a message came for: the
// largest QoS, retain as published if one asks for it, all identifiers, which
// are appended to dst. ok is false when none is known.
func (s *subscriptions) match(ids []core.SubID, dst []uint32) (o options, identifiers []uint32, ok bool) {
	for _, id := range ids {
		sub, known := s.byID[id]
		if !known {
			continue
		}
		ok = true
		o.qos = max(o.qos, sub.qos)
		o.asPublished = o.asPublished || sub.asPublished
		if sub.identifier != 0 {
			dst = append(dst, sub.identifier)
		}
	}
	return o, dst, ok
}

// A subscription's options are kept with it in this form (big endian):
//
//	0  version, 1
//	1  flags: bit 0 retain as published
//	2  subscription identifier, 4 bytes, 0 for none
const optionsVersion = 1

func appendOptions(dst []byte, f *wire.Filter, identifier uint32) []byte {
	var flags byte
	if f.RetainAsPublished {
		flags |= 1
	}
	return binary.BigEndian.AppendUint32(append(dst, optionsVersion, flags), identifier)
}

func parseOptions(b []byte) options {
	if len(b) != 6 || b[0] != optionsVersion {
		return options{}
	}
	return options{asPublished: b[1]&1 != 0, identifier: binary.BigEndian.Uint32(b[2:])}
}
