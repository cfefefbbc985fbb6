package shard

import (
	"context"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// Ref is a message handed out, to be read with Record.
type Ref struct {
	LSN         record.LSN
	Stream      record.StreamID
	Offset      record.Offset
	Redelivered bool
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
	items     []queue.Item // scratch; mu guards it
	gone      bool         // the queue was deleted, or the consumer removed
}

// Consume attaches a consumer to a queue. notify and cancelled may be called
// with locks held.
func (s *Shard) Consume(
	id record.StreamID, limits []*queue.Limit, notify, cancelled func(),
) (*Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return nil, ErrNotFound
	}
	c := &Consumer{s: s, st: st, notify: notify, cancelled: cancelled}
	c.c = queue.NewConsumer(limits, c)
	st.queue.Add(c.c)
	if st.consumers == nil {
		st.consumers = map[*Consumer]struct{}{}
	}
	st.consumers[c] = struct{}{}
	s.mark(st.self)
	s.dispatch(st)
	return c, nil
}

// Fetch appends up to n assigned messages to dst. It does not wait for messages,
// but may read the index. An error leaves them where they were.
func (c *Consumer) Fetch(dst []Ref, n int) ([]Ref, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.gone {
		return dst, nil
	}
	before := len(dst)
	c.items = c.st.queue.Fetch(c.c, c.items[:0], n)
	for _, it := range c.items {
		lsn, ok, err := c.st.refs.Get(it.Offset, c.st)
		if err != nil {
			for i := range c.items {
				c.st.queue.GiveBack(c.c, c.items[i].Offset)
			}
			return dst[:before], err
		}
		if !ok {
			continue // settled by a purge meanwhile
		}
		dst = append(dst, Ref{LSN: lsn, Stream: c.st.id, Offset: it.Offset, Redelivered: it.Redelivered})
	}
	if len(c.items) > 0 {
		c.s.moved(c.st)
	}
	return dst, nil
}

// moved follows up on a change of a queue's cursor: acks for the log,
// references to forget, messages for consumers with room. mu is held.
func (s *Shard) moved(st *stream) {
	s.settled(st.self)
	st.trim(st.self)
	s.dispatch(st)
}

// Settle ends messages that were fetched, or gives them back to their place.
func (c *Consumer) Settle(offsets []record.Offset, giveBack bool) (n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, o := range offsets {
		if giveBack && c.st.queue.GiveBack(c.c, o) || !giveBack && c.st.queue.Done(c.c, o) {
			n++
		}
	}
	if !c.st.self.gone {
		c.s.moved(c.st)
	}
	return n
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
	c.gone = true
	delete(c.st.consumers, c)
	c.st.queue.Remove(c.c)
	c.s.dispatch(c.st)
	return c.st.queue.Consumers()
}

// Get takes one message without a consumer. left is what remains ready.
func (s *Shard) Get(ctx context.Context, id record.StreamID) (ref Ref, left uint64, ok bool, err error) {
	for {
		s.mu.Lock()
		st := s.streams[id]
		if st == nil || st.queue == nil {
			s.mu.Unlock()
			return Ref{}, 0, false, ErrNotFound
		}
		o, some := st.queue.Peek(st.refs.End())
		if !some {
			s.mu.Unlock()
			return Ref{}, 0, false, nil
		}
		if o < st.self.limit() {
			ref, left, err = s.takeOne(st)
			s.mu.Unlock()
			return ref, left, err == nil, err
		}
		s.mark(st.self)
		s.mu.Unlock()
		// The mark is in the open batch or in the one being committed.
		if err := s.Wait(ctx, s.lastAppended()); err != nil {
			return Ref{}, 0, false, err
		}
	}
}

func (s *Shard) takeOne(st *stream) (Ref, uint64, error) {
	o, redelivered, _ := st.queue.Take(st.refs.End())
	lsn, _, err := st.refs.Get(o, st)
	if err != nil {
		st.queue.Return(o, redelivered)
		return Ref{}, 0, err
	}
	s.mark(st.self)
	ref := Ref{LSN: lsn, Stream: st.id, Offset: o, Redelivered: redelivered}
	return ref, st.queue.Ready(st.refs.End()), nil
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
		if giveBack && st.queue.Return(o, true) || !giveBack && st.queue.InFlight(o) && st.queue.Settle(o) {
			n++
		}
	}
	s.moved(st)
	return n
}
