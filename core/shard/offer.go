package shard

import (
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// limits are those of what waits in a queue. One that refuses what goes over its bounds
// drops nothing.
type limits struct {
	bounds  queue.Bounds
	refuses bool
	coming  arrivals
	// reserved is for changes that are not made yet.
	reserved need
}

// arrivals are messages of a queue that refuses what is too much which are in the
// log, or on their way to it, and not applied. They count, or a burst would be let
// in that is longer than the queue may be.
type arrivals struct {
	list  []arrival
	head  int
	bytes uint64
}

type arrival struct {
	lsn  record.LSN
	size uint64
}

func (a *arrivals) len() uint64 { return uint64(len(a.list) - a.head) }

func (a *arrivals) add(lsn record.LSN, size uint64) {
	if a.head > len(a.list)/2 {
		a.list, a.head = a.list[:copy(a.list, a.list[a.head:])], 0
	}
	a.list = append(a.list, arrival{lsn, size})
	a.bytes += size
}

// applied takes out what the log has applied up to a record.
func (a *arrivals) applied(lsn record.LSN) {
	for a.head < len(a.list) && a.list[a.head].lsn <= lsn {
		a.bytes -= a.list[a.head].size
		a.head++
	}
	if a.head == len(a.list) {
		a.list, a.head = a.list[:0], 0
	}
}

// room is whether a queue takes a message.
type room uint8

const (
	hasRoom room = iota
	// mayHaveRoom: what is on its way would have to go to consumers first, which
	// is known when it is applied.
	mayHaveRoom
	hasNone
)

// room tells whether a queue that refuses what is too much takes n messages more. mu
// is held.
func (st *stream) room(n, bytes uint64) room {
	st = st.head()
	l := st.limits
	if l == nil || !l.refuses {
		return hasRoom
	}
	waiting, waitingBytes := st.waiting()
	n += waiting + l.reserved.messages
	bytes += waitingBytes + l.reserved.bytes
	switch {
	case !l.bounds.Over(n+l.coming.len(), bytes+l.coming.bytes):
		return hasRoom
	case !l.bounds.Over(n, bytes), st.marking() && st.queue.Consumers() > 0:
		return mayHaveRoom
	}
	return hasNone
}

// Offer is Publish for a message that may be too much for some of its queues: those
// do not get it, and are appended to refused, but for a Once that is known. When
// nobody takes the message it is not stored, and the result is LSN 0. It may change
// the streams and deadlines of m.
func (s *Shard) Offer(
	m *record.Message, sync bool, w *Waiter, refused []record.StreamID,
) (record.LSN, []record.StreamID, error) {
	for {
		s.endExpired() // what is over makes no queue too long
		if err := s.lockWithRoom(); err != nil {
			return 0, refused, err
		}
		lsn, all, sure := s.offer(m, sync, w, refused)
		last := s.open.Base + record.LSN(s.open.Len()) - 1
		s.amu.Unlock()
		s.mu.Unlock()
		if sure {
			return lsn, all, nil
		}
		if err := s.Await(last); err != nil {
			return 0, refused, err
		}
	}
}

// offer appends the message for those of its streams that take it, unless that is not
// sure. mu and amu are held.
func (s *Shard) offer(
	m *record.Message, sync bool, w *Waiter, before []record.StreamID,
) (lsn record.LSN, refused []record.StreamID, sure bool) {
	if lsn, known := s.knownOnce(m, w); known {
		return lsn, before, true
	}
	if refused, sure = s.sift(m, before); !sure || len(m.Streams) == 0 && !m.Retain {
		return 0, refused, sure
	}
	lsn = s.appendMessage(record.KindMessage, m, sync, w)
	for _, id := range m.Streams {
		st := s.streams[id]
		if st == nil {
			continue
		}
		if l := st.head().limits; l != nil && l.refuses {
			l.coming.add(lsn, uint64(len(m.Payload)))
		}
	}
	return lsn, refused, true
}

func (s *Shard) endExpired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endDue()
}

// sift leaves in m the streams that take it, and appends the others to refused. It is
// not sure, and changes nothing, while that depends on what is on its way. mu is held.
func (s *Shard) sift(m *record.Message, refused []record.StreamID) (_ []record.StreamID, sure bool) {
	size := uint64(len(m.Payload))
	if s.undecided(m.Streams, size) {
		return refused, false
	}
	streams, deadlines := s.sifted.streams[:0], s.sifted.deadlines[:0]
	for i, id := range m.Streams {
		if st := s.streams[id]; st != nil && st.room(1, size) == hasNone {
			refused = append(refused, id)
			continue
		}
		streams = append(streams, id)
		if len(m.Deadlines) > 0 {
			deadlines = append(deadlines, m.Deadlines[i])
		}
	}
	s.sifted.streams, s.sifted.deadlines = streams, deadlines
	m.Streams, m.Deadlines = streams, deadlines
	return refused, true
}

// undecided tells whether it depends on what is on its way if a message has room in each
// of some queues. mu is held.
func (s *Shard) undecided(ids []record.StreamID, size uint64) bool {
	for _, id := range ids {
		if st := s.streams[id]; st != nil && st.room(1, size) == mayHaveRoom {
			return true
		}
	}
	return false
}
