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

// Queue hands messages to its consumers: those of one stream, or of one for each of
// their priorities. It is the only reader of its Cursor.
type Queue struct {
	Cursor
	above   *above // nil unless there are messages of priorities above 0
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
	q.giveBackAll(c, c.assigned)
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
	woken, _ = q.handOut(Source{Cursor: &q.Cursor, End: end, Limit: limit}, woken)
	for _, c := range woken[first:] {
		c.woken = false
	}
	return woken
}

// handOut assigns the messages of a source to consumers that have room, and tells
// whether those were all.
func (q *Queue) handOut(from Source, woken []*Consumer) (_ []*Consumer, all bool) {
	for {
		o, ok := from.Cursor.Peek(from.End)
		if !ok {
			return woken, true
		}
		if o >= from.Limit {
			return woken, false
		}
		c := q.pick()
		if c == nil {
			return woken, false
		}
		o, redelivered, _ := from.Cursor.Take(from.End)
		c.assigned = append(c.assigned, Item{WithPriority(o, from.Priority), redelivered})
		c.held++
		if !c.woken {
			c.woken = true
			woken = append(woken, c)
		}
	}
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
	q.giveBackAll(c, items)
}

// Unassign takes back what was assigned to the consumer and not fetched.
func (q *Queue) Unassign(c *Consumer) {
	q.giveBackAll(c, c.assigned)
	c.assigned = c.assigned[:0]
}

// Suspend takes a message from the consumer that fetched it. It stays in flight, and
// counts in no limit, until its cursor returns or settles it.
func (q *Queue) Suspend(c *Consumer, o record.Offset) bool {
	from, o := q.at(o)
	if !from.InFlight(o) {
		return false
	}
	c.release()
	return true
}

// giveBackAll returns to their places what nobody has seen.
func (q *Queue) giveBackAll(c *Consumer, items []Item) {
	for _, it := range items {
		if from, o := q.at(it.Offset); from.Return(o, it.Redelivered) {
			c.release()
		}
	}
}

// Done settles a message that the consumer fetched. It returns false if the
// message was not in flight.
func (q *Queue) Done(c *Consumer, o record.Offset) bool {
	from, o := q.at(o)
	if !from.InFlight(o) {
		return false
	}
	c.release()
	return from.Settle(o)
}

// GiveBack returns a message that the consumer fetched to its place, to be
// redelivered.
func (q *Queue) GiveBack(c *Consumer, o record.Offset) bool {
	from, o := q.at(o)
	if !from.Return(o, true) {
		return false
	}
	c.release()
	return true
}
