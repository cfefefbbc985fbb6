package shard

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// Settlement is messages of one cursor that a change ends.
type Settlement struct {
	By      Settler
	Offsets []record.Offset
}

// Settler ends messages of a cursor: a consumer those that it fetched, Taken those
// that Get took, and AtCursor any.
type Settler interface {
	// settle ends messages and returns how many were not yet. The shard's mu is held.
	settle(offsets []record.Offset) int
	// cursor names the durable cursor that moves; false when none does. The shard's
	// mu is held.
	cursor() (record.CursorRef, bool)
}

func (c *Consumer) settle(offsets []record.Offset) (n int) {
	for _, o := range offsets {
		if c.st.queue.Done(c.c, o) {
			n++
		}
	}
	if !c.st.self.gone {
		c.s.moved(c.st)
	}
	return n
}

func (c *Consumer) cursor() (record.CursorRef, bool) { return c.st.self.ref() }

func (c *GroupConsumer) settle(offsets []record.Offset) (n int) {
	for _, o := range offsets {
		if c.g.q.Done(c.c, o) {
			n++
		}
	}
	c.moved()
	return n
}

func (c *GroupConsumer) cursor() (record.CursorRef, bool) { return c.g.p.ref() }

// ref names the cursor when the log knows it.
func (p *place) ref() (record.CursorRef, bool) {
	return record.CursorRef{Stream: p.stream.id, Cursor: p.id}, p.stream.durable && p.durable && !p.gone
}

// taken settles what Get took.
type taken struct {
	s  *Shard
	id record.StreamID
}

// Taken settles messages that Get took from a queue.
func (s *Shard) Taken(id record.StreamID) Settler { return taken{s, id} }

func (t taken) settle(offsets []record.Offset) (n int) {
	st := t.s.streams[t.id]
	if st == nil || st.queue == nil {
		return 0
	}
	for _, o := range offsets {
		if st.queue.InFlight(o) && st.queue.Settle(o) {
			n++
		}
	}
	t.s.moved(st)
	return n
}

func (t taken) cursor() (record.CursorRef, bool) {
	st := t.s.streams[t.id]
	if st == nil || st.queue == nil {
		return record.CursorRef{}, false
	}
	return st.self.ref()
}

// atCursor settles messages of a cursor whatever they are doing.
type atCursor struct {
	s  *Shard
	at record.CursorRef
}

// AtCursor settles messages of a cursor that no consumer has fetched; cursor 0 is
// that of a queue.
func (s *Shard) AtCursor(stream record.StreamID, cursor uint64) Settler {
	return &atCursor{s, record.CursorRef{Stream: stream, Cursor: cursor}}
}

func (a *atCursor) place() *place {
	st := a.s.streams[a.at.Stream]
	if st == nil {
		return nil
	}
	if p := st.place(a.at.Cursor); p != nil && !p.gone {
		return p
	}
	return nil
}

func (a *atCursor) settle(offsets []record.Offset) (n int) {
	p := a.place()
	if p == nil {
		return 0
	}
	st := p.stream
	for _, o := range offsets {
		if o < st.refs.End() && p.cur.Settle(o) {
			n++
		}
	}
	a.s.settled(p)
	st.trim(p)
	a.s.dispatch(st)
	return n
}

func (a *atCursor) cursor() (record.CursorRef, bool) {
	p := a.place()
	if p == nil {
		return record.CursorRef{}, false
	}
	return p.ref()
}

// Acks returns the settlements as bodies of ack records, without those that the log
// does not know. All are of this shard.
func (s *Shard) Acks(settle []Settlement) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all [][]byte
	for i := range settle {
		ref, durable := settle[i].By.cursor()
		if !durable {
			continue
		}
		a := record.Ack{Stream: ref.Stream, Cursor: ref.Cursor, Ranges: ranges(settle[i].Offsets)}
		all = append(all, record.AppendAck(nil, &a))
	}
	return all
}

// ranges returns offsets, in any order and each once, as ascending ranges.
func ranges(offsets []record.Offset) (rs []record.Range) {
	offsets = slices.Sorted(slices.Values(offsets))
	for _, o := range offsets {
		if n := len(rs); n > 0 && rs[n-1].End == o {
			rs[n-1].End++
			continue
		}
		rs = append(rs, record.Range{First: o, End: o + 1})
	}
	return rs
}
