package shard

import (
	"context"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// GroupConsumer reads a stream queue, alone or as one of a consumer group.
type GroupConsumer struct {
	s         *Shard
	g         *consumerGroup
	c         *queue.Consumer
	notify    func()
	cancelled func()
	items     []queue.Item  // scratch; mu guards it
	gone      bool          // the queue was deleted, or the consumer removed
	left      chan struct{} // closed with gone
}

// leave makes the consumer one that gets nothing any more. mu is held.
func (c *GroupConsumer) leave() {
	c.gone = true
	close(c.left)
}

// Hint returns the hint for the reads of this consumer, see [Consumer.Hint].
func (c *GroupConsumer) Hint() Hint { return Hint{owner: uint64(c.g.k.st.id), stop: c.left} }

// Reading says how a stream queue is read.
type Reading struct {
	// Group names the consumer group, whose cursor the log keeps; 0 reads without
	// one. GroupName is its name.
	Group     uint64
	GroupName string
	// Start is where reading begins, unless the group has a cursor.
	Start  Start
	Limits []*queue.Limit
	// Priority is that within the group, see queue.NewConsumer.
	Priority int64
	// Notify and Cancelled may be called with locks held.
	Notify, Cancelled func()
}

// ConsumeKept attaches a consumer to a stream queue. A group that is not there
// begins, which waits for the log.
func (s *Shard) ConsumeKept(ctx context.Context, id record.StreamID, r *Reading) (*GroupConsumer, error) {
	c := &GroupConsumer{s: s, notify: r.Notify, cancelled: r.Cancelled, left: make(chan struct{})}
	c.c = queue.NewConsumer(r.Limits, r.Priority, c)
	if r.Group != 0 && s.attachKept(id, r, c, 0) == nil {
		return c, nil
	}
	at, err := s.resolve(id, r.Start)
	if err != nil {
		return nil, err
	}
	if r.Group != 0 {
		g := record.Group{Stream: id, Cursor: r.Group, Offset: at, Name: r.GroupName}
		lsn, err := s.Append(record.KindGroup, record.AppendGroup(nil, &g), nil)
		if err != nil {
			return nil, err
		}
		if err := s.Wait(ctx, lsn); err != nil {
			return nil, err
		}
	}
	if err := s.attachKept(id, r, c, at); err != nil {
		return nil, err
	}
	return c, nil
}

// attachKept adds the consumer to its group, or to one of its own that begins
// at an offset.
func (s *Shard) attachKept(id record.StreamID, r *Reading, c *GroupConsumer, at record.Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil {
		return ErrNotFound
	}
	k := st.kept
	if r.Group == 0 {
		c.g = newGroup(k, 0, index.Group{}, min(max(at, st.refs.Low()), st.refs.End()), false)
		k.all = append(k.all, c.g)
	} else if c.g = k.groups[r.Group]; c.g == nil {
		return ErrNotFound
	}
	c.g.consumers[c] = struct{}{}
	c.g.q.Add(c.c)
	s.mark(c.g.p)
	s.dispatchGroup(c.g)
	return nil
}

// gapRounds is how often Fetch looks for messages where compaction took them out.
const gapRounds = 64

// Fetch appends up to n assigned messages to dst. When it gives none, Notify is
// called once there may be some. It does not wait for messages, but may read the index. An error
// leaves them where they were.
func (c *GroupConsumer) Fetch(dst []Ref, n int) ([]Ref, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	before := len(dst)
	for round := 0; !c.gone; round++ {
		if round == gapRounds { // the lock is not held for ever over a wide gap
			c.notify()
			break
		}
		c.items = c.g.q.Fetch(c.c, c.items[:0], n)
		if len(c.items) == 0 {
			break
		}
		var err error
		dst, err = c.refs(dst)
		c.moved()
		if len(dst) > before {
			break
		}
		if err = c.s.bring(err, uint64(c.g.k.st.id), c.left); err != nil && !c.gone {
			return dst, err
		}
	}
	return dst, nil
}

// refs looks up what was fetched, and settles what is not there any more. With an
// error it has found none; what comes behind one that is found is met by the next call.
func (c *GroupConsumer) refs(dst []Ref) ([]Ref, error) {
	k, before := c.g.k, len(dst)
	for i, it := range c.items {
		lsn, ok, err := k.get(it.Offset)
		switch {
		case err != nil: // nobody has seen these
			c.g.q.Unfetch(c.c, c.items[i:])
			if len(dst) > before {
				return dst, nil
			}
			return dst, err
		case ok:
			dst = append(dst, Ref{LSN: lsn, Stream: k.st.id, Offset: it.Offset, Redelivered: it.Redelivered})
		default:
			c.g.q.Done(c.c, it.Offset)
		}
	}
	return dst, nil
}

// moved follows up on a change of the group's cursor. mu is held.
func (c *GroupConsumer) moved() {
	g := c.g
	if g.p.gone {
		return
	}
	if g.p.durable {
		c.s.settled(g.p)
	} else {
		g.q.TakeAcks()
		g.q.Rest()
	}
	g.skip()
	c.s.dispatchGroup(g)
}

// Settle ends messages that were fetched, or gives them back to their place.
func (c *GroupConsumer) Settle(offsets []record.Offset, giveBack bool) (n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, o := range offsets {
		if giveBack && c.g.q.GiveBack(c.c, o) || !giveBack && c.g.q.Done(c.c, o) {
			n++
		}
	}
	c.moved()
	return n
}

// Unfetch gives back the last messages that Fetch returned, see [Consumer.Unfetch].
func (c *GroupConsumer) Unfetch(refs []Ref) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.items = unread(c.items[:0], refs)
	c.g.q.Unfetch(c.c, c.items)
	c.moved()
}

// Truncated tells whether a message that was fetched has left the stream since:
// then it may be gone from the log too.
func (c *GroupConsumer) Truncated(o record.Offset) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for !c.g.p.gone {
		_, ok, err := c.g.k.get(o)
		if err == nil {
			return !ok
		}
		if c.s.bring(err, uint64(c.g.k.st.id), c.left) != nil {
			return false
		}
	}
	return true
}

// Active tells that the consumer gets messages, as all of a group do.
func (c *GroupConsumer) Active() bool { return true }

// Kick looks for messages again, after a limit has grown.
func (c *GroupConsumer) Kick() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if !c.gone {
		c.s.dispatchGroup(c.g)
	}
}

// Remove detaches the consumer; what it fetched can still be settled. left is
// the number of consumers that the group still has.
func (c *GroupConsumer) Remove() (left int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.gone {
		return -1
	}
	c.leave()
	delete(c.g.consumers, c)
	c.g.q.Remove(c.c)
	if !c.g.p.durable {
		c.g.k.remove(c.g)
	}
	c.s.dispatchGroup(c.g)
	return c.g.q.Consumers()
}
