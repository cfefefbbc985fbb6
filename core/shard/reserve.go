package shard

import (
	"errors"

	"github.com/tidegate/tidegate/core/record"
)

// Reservation is room in queues of a shard for messages of one change. Between their
// coming and its Release they count twice.
type Reservation struct {
	s     *Shard
	taken map[*limits]need
}

type need struct{ messages, bytes uint64 }

// NewReservation makes one that has no room yet.
func (s *Shard) NewReservation() *Reservation {
	return &Reservation{s: s, taken: map[*limits]need{}}
}

// Reserve takes room for messages in the queues that refuse what is too much: in all
// of them, or in none with ErrFull. Release it once the messages are applied, or are
// not to come.
func (s *Shard) Reserve(messages *Bodies) (*Reservation, error) {
	r, all := s.NewReservation(), map[record.StreamID]need{}
	var m record.Message
	for i := range messages.Len() {
		if err := record.DecodeMessage(messages.At(i), &m); err != nil {
			return nil, err
		}
		for j := range m.NumStreams() {
			n := all[m.StreamAt(j)]
			all[m.StreamAt(j)] = need{n.messages + 1, n.bytes + uint64(len(m.Payload))}
		}
	}
	for {
		switch r.takeAll(all) {
		case hasRoom:
			return r, nil
		case hasNone:
			return nil, ErrFull
		case mayHaveRoom:
			if err := s.Await(s.lastAppended()); err != nil {
				return nil, err
			}
		}
	}
}

// takeAll takes the room when all queues have it.
func (r *Reservation) takeAll(all map[record.StreamID]need) room {
	r.s.endExpired()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	queues := map[*stream]need{} // one may have several of the streams
	for id, n := range all {
		if st := r.s.streams[id]; st != nil {
			before := queues[st.head()]
			queues[st.head()] = need{before.messages + n.messages, before.bytes + n.bytes}
		}
	}
	worst := hasRoom
	for st, n := range queues {
		worst = max(worst, st.room(n.messages, n.bytes))
	}
	for st, n := range queues {
		if worst == hasRoom {
			r.take(st, n)
		}
	}
	return worst
}

// take takes room in a queue. mu is held.
func (r *Reservation) take(st *stream, n need) {
	l := st.head().limits
	if l == nil {
		return
	}
	l.reserved = need{l.reserved.messages + n.messages, l.reserved.bytes + n.bytes}
	before := r.taken[l]
	r.taken[l] = need{before.messages + n.messages, before.bytes + n.bytes}
}

// ErrReserved tells that it is not known whether a queue has room for a message, since
// consumers may take what it has room for already.
var ErrReserved = errors.New("room is reserved for messages that have not come")

// Add takes room for one message more in those of the queues that have it, and appends
// the others to refused. When the reservation has all the room of a queue itself, that
// is ErrReserved, and none is taken; unless it may be refused for that.
func (r *Reservation) Add(
	queues []record.StreamID, size int, may bool, refused []record.StreamID,
) ([]record.StreamID, error) {
	for {
		r.s.endExpired()
		all, sure, err := r.add(queues, uint64(size), may, refused)
		if sure || err != nil {
			return all, err
		}
		if err := r.s.Await(r.s.lastAppended()); err != nil {
			return refused, err
		}
	}
}

func (r *Reservation) add(
	queues []record.StreamID, size uint64, may bool, refused []record.StreamID,
) (_ []record.StreamID, sure bool, err error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.undecided(queues, size) {
		return refused, false, nil
	}
	for _, id := range queues {
		st := r.s.streams[id]
		if !may && st != nil && st.room(1, size) == hasNone && r.taken[st.head().limits].messages > 0 {
			return refused, false, ErrReserved
		}
	}
	for _, id := range queues {
		switch st := r.s.streams[id]; {
		case st == nil:
		case st.room(1, size) == hasNone:
			refused = append(refused, id)
		default:
			r.take(st, need{1, size})
		}
	}
	return refused, true, nil
}

// Cancel gives the room of one message in queues back.
func (r *Reservation) Cancel(queues []record.StreamID, size int) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, id := range queues {
		st := r.s.streams[id]
		if st == nil {
			continue
		}
		l := st.head().limits
		if n, ok := r.taken[l]; ok && n.messages > 0 {
			l.reserved = need{l.reserved.messages - 1, l.reserved.bytes - uint64(size)}
			r.taken[l] = need{n.messages - 1, n.bytes - uint64(size)}
		}
	}
}

// Release gives the room back.
func (r *Reservation) Release() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for l, n := range r.taken {
		l.reserved = need{l.reserved.messages - n.messages, l.reserved.bytes - n.bytes}
	}
	clear(r.taken)
}
