package queue

import "slices"

// Consumer is one of the consumers of a queue.
type Consumer struct {
	limits []*Limit
	// assigned waits to be fetched; the consumer's limits count it.
	assigned []Item
	held     int  // assigned, or fetched and not settled
	woken    bool // in the result of the Dispatch that runs
	gone     bool // removed
	priority int64
	// Owner is the caller's own value.
	Owner any
}

// NewConsumer makes a consumer that is counted by the limits. It goes before
// those of a lower priority, as long as it has room; 0 is the usual one.
func NewConsumer(limits []*Limit, priority int64, owner any) *Consumer {
	return &Consumer{limits: limits, priority: priority, Owner: owner}
}

// Assigned returns the messages that Fetch would give, up to n. The slice is
// valid until the queue changes.
func (c *Consumer) Assigned(n int) []Item { return c.assigned[:min(n, len(c.assigned))] }

// acquire takes room for one message.
func (c *Consumer) acquire() bool { return len(c.assigned) < maxAssigned && acquireAll(c.limits) }

// release gives the room of one message back.
func (c *Consumer) release() {
	c.held--
	releaseAll(c.limits)
}

// level is the consumers of one priority, which take turns.
type level struct {
	priority  int64
	consumers []*Consumer // oldest first
	turn      int
}

// next returns the next consumer in turn with room, which is taken.
func (l *level) next() *Consumer {
	for range l.consumers {
		if l.turn >= len(l.consumers) {
			l.turn = 0
		}
		c := l.consumers[l.turn]
		l.turn++
		if c.acquire() {
			return c
		}
	}
	return nil
}

// levels are the consumers of a queue by falling priority. None is empty.
type levels []level

func (ls levels) find(priority int64) (int, bool) {
	return slices.BinarySearchFunc(ls, priority, func(l level, priority int64) int {
		switch {
		case l.priority > priority:
			return -1
		case l.priority < priority:
			return 1
		}
		return 0
	})
}

func (ls *levels) add(c *Consumer) {
	i, found := ls.find(c.priority)
	if !found {
		*ls = slices.Insert(*ls, i, level{priority: c.priority})
	}
	l := &(*ls)[i]
	l.consumers = append(l.consumers, c)
}

func (ls *levels) remove(c *Consumer) bool {
	i, found := ls.find(c.priority)
	if !found {
		return false
	}
	l := &(*ls)[i]
	at := slices.Index(l.consumers, c)
	if at < 0 {
		return false
	}
	l.consumers = slices.Delete(l.consumers, at, at+1)
	if l.turn > at {
		l.turn--
	}
	if len(l.consumers) == 0 {
		*ls = slices.Delete(*ls, i, i+1)
	}
	return true
}

func (ls levels) len() (n int) {
	for i := range ls {
		n += len(ls[i].consumers)
	}
	return n
}

// oldest returns the consumer that came first among those of the highest
// priority, or nil.
func (ls levels) oldest() *Consumer {
	if len(ls) == 0 {
		return nil
	}
	return ls[0].consumers[0]
}
