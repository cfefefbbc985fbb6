package shard

import (
	"iter"
	"slices"

	"github.com/tidegate/tidegate/core/queue"
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
	// cursor names the durable cursor that moves, that of priority 0 of a queue that
	// has several; false when none does. The shard's mu is held.
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
		if of, o := st.at(o); of.queue.InFlight(o) && of.queue.Settle(o) {
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
		for priority, some := range byPriority(settle[i].Offsets) {
			a := record.Ack{Stream: PriorityStream(ref.Stream, priority), Cursor: ref.Cursor, Ranges: some}
			all = append(all, record.AppendAck(nil, &a))
		}
	}
	return all
}

// byPriority ranges over the priorities among what consumers have, with the offsets in
// the stream of each as ascending ranges. The offsets come in any order, each once.
func byPriority(offsets []record.Offset) iter.Seq2[uint8, []record.Range] {
	return func(yield func(uint8, []record.Range) bool) {
		var rs []record.Range
		var of uint8
		for _, o := range slices.Sorted(slices.Values(offsets)) {
			in, priority := queue.SplitPriority(o)
			n := len(rs)
			switch {
			case n > 0 && priority != of:
				if !yield(of, rs) {
					return
				}
				rs = append([]record.Range(nil), record.Range{First: in, End: in + 1})
			case n > 0 && rs[n-1].End == in:
				rs[n-1].End++
			default:
				rs = append(rs, record.Range{First: in, End: in + 1})
			}
			of = priority
		}
		if len(rs) > 0 {
			yield(of, rs)
		}
	}
}
