package sim_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/core"
)

// packet is a delivery whose state the client's adapter keeps in the session,
// as for QoS 2: where it is while it is sent, then that it was received, then
// nothing.
type packet struct {
	key      uint32
	held     held
	received bool   // the value says so, or will
	ended    bool   // the value is deleted, or will be
	number   uint64 // of the last change
	stored   bool   // that change is durable
}

// receivedValue is the value of a packet that was received.
const receivedValue = "received"

func positionValue(p core.Position) []byte {
	v := binary.LittleEndian.AppendUint64(nil, uint64(p.Stream))
	v = binary.LittleEndian.AppendUint64(v, uint64(p.Offset))
	v = binary.LittleEndian.AppendUint64(v, uint64(p.LSN))
	return binary.LittleEndian.AppendUint32(v, p.Shard)
}

// keepSome takes one step with one packet.
func (w *world) keepSome(s *session) {
	if s.h == nil || s.expiry == 0 || !w.storedSome(s) {
		return
	}
	if len(s.held) > 0 && (len(s.packets) == 0 || w.rng.IntN(3) == 0) {
		w.keep(s, w.rng.IntN(len(s.held)))
		return
	}
	if len(s.packets) == 0 {
		return
	}
	p := s.packets[w.rng.IntN(len(s.packets))]
	switch {
	case !p.stored:
	case !p.received:
		p.received = true
		w.put(s, p, []byte(receivedValue), p.held.at)
	case !p.ended:
		p.ended = true
		w.put(s, p, nil)
	}
}

// keep makes a packet of the i-th delivery that is held.
func (w *world) keep(s *session, i int) {
	s.nextKey++
	p := &packet{key: s.nextKey, held: s.held[i]}
	s.held = slices.Delete(s.held, i, i+1)
	s.packets = append(s.packets, p)
	w.put(s, p, positionValue(p.held.at))
}

func (w *world) put(s *session, p *packet, value []byte, settle ...core.Position) {
	p.stored = false
	s.deleted[p.key] = p.ended
	n, err := s.h.Put(p.key, value, settle...)
	if w.failed("put", err) {
		n = 1 << 62 // never known to be stored
	}
	w.log("%s keeps %q for %d", s.client, value, p.held.m.id)
	p.number = n
}

// storedSome notes what is durable of the packets. It returns false when the
// broker could not tell.
func (w *world) storedSome(s *session) bool {
	n, err := s.h.Stored()
	if w.failed("stored", err) {
		return false
	}
	for _, p := range s.packets {
		if p.stored || p.number > n {
			continue
		}
		p.stored = true
		if p.received && p.held.inflight {
			w.settled(p.held.entry)
		}
	}
	s.packets = slices.DeleteFunc(s.packets, func(p *packet) bool { return p.ended && p.stored })
	return true
}

// leftPackets notes that the connection is gone. What was received may be
// settled or not.
func (s *session) leftPackets() {
	for _, p := range s.packets {
		p.held.inflight = false
		if p.received && !p.held.final {
			p.held.excused = true
		}
	}
}

// restorePackets goes on with the packets that the session has kept: a crash
// may keep the value of a packet that was received and deliver it again, but
// never lose the value and the message.
func (w *world) restorePackets(s *session) {
	values := map[uint32]string{}
	s.h.Values(func(key uint32, value []byte) { values[key] = string(value) })
	for _, p := range s.packets {
		value, there := values[p.key]
		delete(values, p.key)
		was := string(positionValue(p.held.at))
		switch {
		case p.held.loose:
		case p.stored && p.ended && there:
			w.complain("%s: value %d of message %d is there again", s.client, p.key, p.held.m.id)
		case p.stored && p.received && !p.ended && value != receivedValue:
			w.complain("%s: message %d was stored as received, and the value is %q", s.client, p.held.m.id, value)
		case p.stored && !p.received && value != was:
			w.complain("%s: message %d was stored as sent, and the value is %q", s.client, p.held.m.id, value)
		case p.ended && !there:
			// The end of the value is durable, and so the settling before it.
			p.held.final, p.held.excused = true, false
		case p.received && value != receivedValue:
			p.held.excused = false
			if p.held.final {
				w.complain("%s: message %d is settled, and its value is %q", s.client, p.held.m.id, value)
			}
		}
		if value == was {
			w.reread(s, p)
		}
		if there {
			w.forget(s, p.key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !s.deleted[key] {
			w.complain("%s: value %d was never kept", s.client, key)
		}
	}
	s.packets = nil
}

// reread takes a delivery up again where its value says that it was.
func (w *world) reread(s *session, p *packet) {
	if w.failed("reserve", s.h.Reserve(p.held.at)) {
		return
	}
	d, err := s.h.Reread(p.held.at)
	if errors.Is(err, core.ErrNotFound) {
		return // settled, or it has to come
	}
	if w.failed("reread", err) {
		w.heal()
		w.lostTrack(s)
		return
	}
	before := len(s.held)
	w.took(s.dest, []core.Delivery{d}, &s.held)
	if len(s.held) > before && s.held[before].m != p.held.m {
		w.complain("%s: the value of message %d tells of message %d", s.client, p.held.m.id, s.held[before].m.id)
	}
}

// lostTrack gives back all that the session has in flight, to come again.
func (w *world) lostTrack(s *session) {
	s.h.Recover()
	for _, h := range s.held {
		h.inflight = false
	}
	s.held = nil
}

// forget deletes a value that is of no more use.
func (w *world) forget(s *session, key uint32) {
	s.deleted[key] = true
	_, err := s.h.Put(key, nil)
	w.failed("delete value", err)
}

// finishPackets settles what is kept, at the end of all.
func (w *world) finishPackets(s *session) {
	if s.h == nil || !w.storedSome(s) {
		return
	}
	for _, p := range s.packets {
		if !p.received && p.held.inflight {
			w.settled(p.held.entry)
			s.h.Settle(p.held.at)
		}
	}
}
