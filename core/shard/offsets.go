package shard

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// publishedRanges is how many settled ranges above its floor a published
// cursor tells.
const publishedRanges = 64

// CursorState is a durable cursor as of a record.
type CursorState struct {
	LSN    record.LSN // Published alone sets it
	Stream record.StreamID
	Cursor uint64
	Floor  record.Offset
	Ranges []record.Range
}

// FlushAcks puts what was settled into the open batch now, and returns the LSN
// up to which that is.
func (s *Shard) FlushAcks() record.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.amu.Lock()
	defer s.amu.Unlock()
	return s.flushAcks()
}

// flushAcks is FlushAcks with mu and amu held.
func (s *Shard) flushAcks() record.LSN {
	before := s.open.Len()
	s.gatherAcks()
	if s.failed == nil && s.open.Len() > before {
		s.wake()
	}
	return s.open.Base + record.LSN(s.open.Len()) - 1
}

// unpublish remembers that acks of the cursor went into the log, which is to be
// published. mu is held.
func (s *Shard) unpublish(p *place) {
	if !p.unpublished {
		p.unpublished = true
		s.unpublished = append(s.unpublished, p)
	}
}

// unpublishAll remembers, at a start, every durable cursor that has settled
// something: what was published before the last end of the process is not known.
// After a new count of offsets it remembers all.
func (s *Shard) unpublishAll(recounted bool) {
	for _, st := range s.streams {
		for p := range st.everyPlace() {
			if st.durable && p.durable && (recounted || p.cur.Floor() > 0 || p.cur.Ranges(1) != nil) {
				s.unpublish(p)
			}
		}
	}
}

// Published notes what is published of a cursor: when that tells what Moved would
// return, Moved leaves it out.
func (s *Shard) Published(c *CursorState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[c.Stream]
	if st == nil || c.LSN < st.since {
		return
	}
	p := st.place(c.Cursor)
	if p != nil && !p.dirty && p.cur.Floor() == c.Floor && slices.Equal(p.cur.Ranges(publishedRanges), c.Ranges) {
		p.unpublished = false
	}
}

// Moved appends up to n cursors to dst that have moved since they were last
// taken, and tells whether there are more. They are durable once the record lsn
// is committed, which a crash then keeps: it is the last ack, and not whatever
// record came last, which may ask for no sync.
func (s *Shard) Moved(dst []CursorState, n int) (_ []CursorState, lsn record.LSN, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.amu.Lock()
	s.flushAcks()
	lsn = s.lastAck
	s.amu.Unlock()
	n = min(n, len(s.unpublished))
	for _, p := range s.unpublished[:n] { // their acks are in the open batch, or in one before
		if !p.unpublished {
			continue // what is published tells the same
		}
		p.unpublished = false
		if !p.gone {
			dst = append(dst, CursorState{
				Stream: p.stream.id, Cursor: p.id, Floor: p.cur.Floor(), Ranges: p.cur.Ranges(publishedRanges),
			})
		}
	}
	rest := copy(s.unpublished, s.unpublished[n:])
	clear(s.unpublished[rest:])
	s.unpublished = s.unpublished[:rest]
	return dst, lsn, rest > 0
}

// PublishedUpTo tells that all acks in records up to lsn are published. Of a shard
// with Deps.Published, upkeep leaves alone what lies above: else an index that is
// lost would take with it what is neither in the log any more nor published yet.
// At the start nothing counts as published. What was told last counts, so that it
// can be taken back; math.MaxUint64 has upkeep wait for no publication.
func (s *Shard) PublishedUpTo(lsn record.LSN) { s.published.Store(uint64(lsn)) }

// Synced returns the last record that is known to be on stable storage, with all before
// it, since the shard was opened. It can't be lost with the power, whatever the
// durability of messages: published, it tells a later start how far the log must go.
func (s *Shard) Synced() record.LSN { return s.log.Synced() }

// HasCursor tells whether a durable cursor is there; a queue's is cursor 0.
func (s *Shard) HasCursor(stream record.StreamID, cursor uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[stream]
	if st == nil || !st.durable {
		return false
	}
	return st.place(cursor) != nil
}
