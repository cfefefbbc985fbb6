package queue

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// maxAssigned is how many messages may be assigned to a consumer that has not yet
// fetched them: enough to keep its writer busy, little enough to share fairly.
const maxAssigned = 512

// Item is a message assigned to a consumer.
type Item struct {
	Offset      record.Offset
	Redelivered bool
}

// Consumer is one of a queue's competing consumers.
type Consumer struct {
	limits []*Limit
	// assigned waits to be fetched; the consumer's limits count it.
	assigned []Item
	woken    bool // in the result of the Dispatch that runs
	gone     bool
	// Owner is the caller's own value.
	Owner any
}

// NewConsumer makes a consumer that is counted by the limits.
func NewConsumer(limits []*Limit, owner any) *Consumer {
	return &Consumer{limits: limits, Owner: owner}
}

// Queue hands the messages of one stream to competing consumers in rotation.
// It is the only reader of its Cursor.
type Queue struct {
	Cursor
	consumers []*Consumer
	turn      int
}

// Add attaches a consumer.
func (q *Queue) Add(c *Consumer) { q.consumers = append(q.consumers, c) }

// Consumers returns how many consumers are attached.
func (q *Queue) Consumers() int { return len(q.consumers) }

// Each calls fn for each consumer.
func (q *Queue) Each(fn func(*Consumer)) {
	for _, c := range q.consumers {
		fn(c)
	}
}

// Remove detaches a consumer. What it has fetched stays in flight; what it has
// not goes back as it was.
func (q *Queue) Remove(c *Consumer) bool {
	i := slices.Index(q.consumers, c)
	if i < 0 {
		return false
	}
	q.consumers = slices.Delete(q.consumers, i, i+1)
	if q.turn > i {
		q.turn--
	}
	for _, it := range c.assigned {
		if q.Return(it.Offset, it.Redelivered) {
			releaseAll(c.limits)
		}
	}
	c.assigned, c.gone = nil, true
	return true
}

// Dispatch assigns messages below end to consumers that have room, one each in
// turn, and appends those that got some to woken. A message whose offset is at
// or above limit waits: its delivery is not yet marked in the log.
func (q *Queue) Dispatch(end, limit record.Offset, woken []*Consumer) []*Consumer {
	if len(q.consumers) == 0 {
		return woken
	}
	first := len(woken)
	for {
		o, ok := q.Peek(end)
		if !ok || o >= limit {
			break
		}
		c := q.pick()
		if c == nil {
			break
		}
		o, redelivered, _ := q.Take(end)
		c.assigned = append(c.assigned, Item{o, redelivered})
		if !c.woken {
			c.woken = true
			woken = append(woken, c)
		}
	}
	for _, c := range woken[first:] {
		c.woken = false
	}
	return woken
}

// pick returns the next consumer in turn with room and takes from its limits.
func (q *Queue) pick() *Consumer {
	for range q.consumers {
		if q.turn >= len(q.consumers) {
			q.turn = 0
		}
		c := q.consumers[q.turn]
		q.turn++
		if len(c.assigned) < maxAssigned && acquireAll(c.limits) {
			return c
		}
	}
	return nil
}

// Assigned returns the messages that Fetch would give, up to n. The slice is
// valid until the queue changes.
func (c *Consumer) Assigned(n int) []Item { return c.assigned[:min(n, len(c.assigned))] }

// Fetch moves up to n of the consumer's messages to dst.
func (q *Queue) Fetch(c *Consumer, dst []Item, n int) []Item {
	n = min(n, len(c.assigned))
	dst = append(dst, c.assigned[:n]...)
	rest := copy(c.assigned, c.assigned[n:])
	c.assigned = c.assigned[:rest]
	return dst
}

// Unfetch undoes Fetch for messages that did not get to the client: they are the
// consumer's next again, as they were and in their order. Those of a consumer
// that was removed go back to their place in the queue.
func (q *Queue) Unfetch(c *Consumer, items []Item) {
	if !c.gone {
		c.assigned = slices.Insert(c.assigned, 0, items...)
		return
	}
	for _, it := range items {
		if q.Return(it.Offset, it.Redelivered) {
			releaseAll(c.limits)
		}
	}
}

// Done settles a message that the consumer fetched. It returns false if the
// message was not in flight.
func (q *Queue) Done(c *Consumer, o record.Offset) bool {
	if !q.InFlight(o) {
		return false
	}
	releaseAll(c.limits)
	return q.Settle(o)
}

// GiveBack returns a message that the consumer fetched to its place, to be
// redelivered.
func (q *Queue) GiveBack(c *Consumer, o record.Offset) bool {
	if !q.Return(o, true) {
		return false
	}
	releaseAll(c.limits)
	return true
}
