package shard

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// Ref is a message handed out, to be read with Record.
type Ref struct {
	LSN         record.LSN
	Stream      record.StreamID
	Offset      record.Offset
	Redelivered bool
	// Returns is how often it came back before, on a queue that counts that.
	Returns uint32
	// Also are further streams of the same session that refer to the same
	// message; settling the first settles them too.
	Also []record.StreamID
}

// Consumer is one of the competing consumers of a queue.
type Consumer struct {
	s         *Shard
	st        *stream
	c         *queue.Consumer
	notify    func()
	cancelled func()
	items     []queue.Item  // scratch; mu guards it
	gone      bool          // the queue was deleted, or the consumer removed
	left      chan struct{} // closed with gone
}

// leave makes the consumer one that gets nothing any more. mu is held.
func (c *Consumer) leave() {
	c.gone = true
	close(c.left)
}

// Hint returns the hint for the reads of this consumer: together with the others
// of its queue it gets a part of the places for reads of the disk, and it waits
// for none once it is removed.
func (c *Consumer) Hint() Hint { return Hint{owner: uint64(c.st.id), stop: c.left} }

// GetHint returns the hint to read what Get took from a queue: with the part of
// the queue's consumers, and until ctx ends.
func GetHint(ctx context.Context, id record.StreamID) Hint {
	return Hint{owner: uint64(id), stop: ctx.Done()}
}

// Consume attaches a consumer to a queue, see queue.NewConsumer. notify and
// cancelled may be called with locks held.
func (s *Shard) Consume(
	id record.StreamID, limits []*queue.Limit, priority int64, notify, cancelled func(),
) (*Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return nil, ErrNotFound
	}
	c := &Consumer{s: s, st: st, notify: notify, cancelled: cancelled, left: make(chan struct{})}
	c.c = queue.NewConsumer(limits, priority, c)
	st.queue.Add(c.c)
	if st.consumers == nil {
		st.consumers = map[*Consumer]struct{}{}
	}
	st.consumers[c] = struct{}{}
	s.markAll(st)
	s.dispatch(st)
	return c, nil
}

// Fetch appends up to n assigned messages to dst. It does not wait for messages,
// but may read the index. An error leaves them where they were.
func (c *Consumer) Fetch(dst []Ref, n int) ([]Ref, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.endDue()
	for !c.gone {
		got, err := c.fetch(dst, n)
		if err == nil {
			return got, nil
		}
		if err = c.s.bring(err, uint64(c.st.id), c.left); err != nil && !c.gone {
			return dst, err
		}
	}
	return dst, nil
}

// fetch takes the first of the assigned messages whose references are in memory.
// With an error it takes none.
func (c *Consumer) fetch(dst []Ref, n int) ([]Ref, error) {
	took, kept := 0, len(dst)
	for _, it := range c.c.Assigned(n) {
		st, o := c.st.at(it.Offset)
		if st.late.over(o) {
			took++
			continue
		}
		lsn, ok, err := st.ref(o)
		if err != nil && took == 0 {
			return dst, err
		}
		if err != nil {
			break // the next call meets it
		}
		took++
		if !ok {
			continue // settled by a purge meanwhile
		}
		dst = append(dst, Ref{
			LSN: lsn, Stream: c.st.id, Offset: it.Offset, Redelivered: it.Redelivered, Returns: st.returned(o),
		})
	}
	if took > 0 {
		c.items = c.st.queue.Fetch(c.c, c.items[:0], took)
		c.endLate()
		c.s.moved(c.st)
		if len(dst) == kept {
			return c.fetch(dst, n) // none of them was left
		}
	}
	return dst, nil
}

// moved follows up on a change of a queue's cursor: acks for the log,
// references to forget, messages for consumers with room. mu is held.
func (s *Shard) moved(st *stream) {
	st.touch()
	st = st.head()
	s.settled(st.self)
	st.trim(st.self)
	if st.priorities != nil {
		s.settledAll(st)
	}
	s.dispatch(st)
}

// Settle ends messages that were fetched, or gives them back to their place.
func (c *Consumer) Settle(offsets []record.Offset, giveBack bool) (n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, o := range offsets {
		if !giveBack && c.st.queue.Done(c.c, o) || giveBack && c.giveBack(o) {
			n++
		}
	}
	if !c.st.self.gone {
		c.s.moved(c.st)
	}
	return n
}

// giveBack gives one message back, unless it is late or has come back too often. mu
// is held.
func (c *Consumer) giveBack(o record.Offset) bool {
	st, in := c.st.at(o)
	switch {
	case c.s.endsLate(st, in):
		return c.buryHeld(o, Expired)
	case st.comesBack(in):
		return c.buryHeld(o, Returned)
	}
	return c.st.queue.GiveBack(c.c, o)
}

// Unfetch gives back the last messages that Fetch returned, which nobody has
// seen: the next Fetch returns them again, before all others.
func (c *Consumer) Unfetch(refs []Ref) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.items = unread(c.items[:0], refs)
	c.st.queue.Unfetch(c.c, c.items)
	if c.gone {
		c.s.endReturned(c.st)
	}
	if !c.st.self.gone {
		c.s.moved(c.st)
	}
}

// unread appends what a queue knows of messages that nobody has seen.
func unread(dst []queue.Item, refs []Ref) []queue.Item {
	for i := range refs {
		dst = append(dst, queue.Item{Offset: refs[i].Offset, Redelivered: refs[i].Redelivered})
	}
	return dst
}

// Kick looks for messages again, after a limit has grown.
func (c *Consumer) Kick() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if !c.gone {
		c.s.dispatch(c.st)
	}
}

// Remove detaches the consumer; what it fetched can still be settled. left is
// the number of consumers that the queue still has.
func (c *Consumer) Remove() (left int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.gone {
		return -1
	}
	c.leave()
	delete(c.st.consumers, c)
	c.st.queue.Remove(c.c)
	c.s.endReturned(c.st)
	c.s.dispatch(c.st)
	return c.st.queue.Consumers()
}

// Get takes one message without a consumer. left is what remains ready.
func (s *Shard) Get(ctx context.Context, id record.StreamID) (ref Ref, left uint64, ok bool, err error) {
	for {
		ref, left, wait, err := s.takeOne(ctx, id)
		if !wait || err != nil {
			return ref, left, ref.LSN != 0, err
		}
		// The mark is in the open batch or in the one being committed.
		if err := s.Wait(ctx, s.lastAppended()); err != nil {
			return Ref{}, 0, false, err
		}
	}
}

// takeOne takes the next message of a queue, none from an empty one. With wait
// it must not be delivered before what was appended is committed.
func (s *Shard) takeOne(ctx context.Context, id record.StreamID) (ref Ref, left uint64, wait bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.endDue()
		st := s.streams[id]
		if st == nil || st.queue == nil {
			return Ref{}, 0, false, ErrNotFound
		}
		from, o, some := st.next()
		if !some {
			return Ref{}, 0, false, nil
		}
		if o >= from.self.limit() {
			return Ref{}, 0, true, s.askMark(from.self)
		}
		lsn, _, err := from.ref(o)
		if err == nil {
			_, redelivered, _ := from.queue.Take(from.refs.End())
			s.mark(from.self)
			left, _ := st.waiting()
			return Ref{
				LSN: lsn, Stream: st.id, Offset: queue.WithPriority(o, from.priority()),
				Redelivered: redelivered, Returns: from.returned(o),
			}, left, false, nil
		}
		if err = s.bring(err, uint64(id), ctx.Done()); errors.Is(err, ErrLeft) {
			return Ref{}, 0, false, fmt.Errorf("read reference %d: %w", o, context.Cause(ctx))
		}
		if err != nil {
			return Ref{}, 0, false, err
		}
	}
}

func (s *Shard) lastAppended() record.LSN {
	s.amu.Lock()
	defer s.amu.Unlock()
	return s.open.Base + record.LSN(s.open.Len()) - 1
}

// SettleTaken ends messages that Get took, or gives them back.
func (s *Shard) SettleTaken(id record.StreamID, offsets []record.Offset, giveBack bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return 0
	}
	for _, o := range offsets {
		of, o := st.at(o)
		if !of.queue.InFlight(o) {
			continue
		}
		if giveBack && s.returnTaken(of, o) || !giveBack && of.queue.Settle(o) {
			n++
		}
	}
	s.moved(st)
	return n
}

// Untake gives back a message that Get took and that nobody has seen: it is in its
// place again as it was, and no return is counted.
func (s *Shard) Untake(ref *Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[ref.Stream]
	if st == nil || st.queue == nil {
		return
	}
	of, o := st.at(ref.Offset)
	if s.endsLate(of, o) {
		s.bury(of, o, Expired)
	} else {
		of.queue.Return(o, ref.Redelivered)
	}
	s.moved(st)
}

// returnTaken gives one message back, unless it is late or has come back too often.
// mu is held.
func (s *Shard) returnTaken(st *stream, o record.Offset) bool {
	switch {
	case s.endsLate(st, o):
		return s.bury(st, o, Expired)
	case st.comesBack(o):
		return s.bury(st, o, Returned)
	}
	return st.queue.Return(o, true)
}
