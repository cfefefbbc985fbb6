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

// Queue hands the messages of one stream to its consumers. It is the only reader
// of its Cursor.
type Queue struct {
	Cursor
	levels  levels
	sharing Sharing
	active  *Consumer // the one that is served, unless Shared; nil is nobody
}

// Add attaches a consumer.
func (q *Queue) Add(c *Consumer) {
	q.levels.add(c)
	q.elect()
}

// Consumers returns how many consumers are attached.
func (q *Queue) Consumers() int { return q.levels.len() }

// Remove detaches a consumer. What it has fetched stays in flight; what it has
// not goes back as it was.
func (q *Queue) Remove(c *Consumer) bool {
	if !q.levels.remove(c) {
		return false
	}
	for _, it := range c.assigned {
		if q.Return(it.Offset, it.Redelivered) {
			c.release()
		}
	}
	c.assigned, c.gone = nil, true
	if q.active == c {
		q.active = nil
		q.elect()
	}
	return true
}

// Dispatch assigns messages below end to consumers that have room, and appends
// those that got some to woken. A message whose offset is at or above limit waits:
// its delivery is not yet marked in the log.
func (q *Queue) Dispatch(end, limit record.Offset, woken []*Consumer) []*Consumer {
	if len(q.levels) == 0 {
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
		c.held++
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
			c.release()
		}
	}
}

// Done settles a message that the consumer fetched. It returns false if the
// message was not in flight.
func (q *Queue) Done(c *Consumer, o record.Offset) bool {
	if !q.InFlight(o) {
		return false
	}
	c.release()
	return q.Settle(o)
}

// GiveBack returns a message that the consumer fetched to its place, to be
// redelivered.
func (q *Queue) GiveBack(c *Consumer, o record.Offset) bool {
	if !q.Return(o, true) {
		return false
	}
	c.release()
	return true
}
