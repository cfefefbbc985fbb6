package queue

import "github.com/tidegate/tidegate/core/record"

// Die gives a message up without settling it: until it is settled it is neither
// handed out nor counted. It returns false if it is dead or settled already.
func (c *Cursor) Die(o record.Offset) bool {
	if c.Settled(o) {
		return false
	}
	w := c.write()
	if !w.dead.set(o) {
		return false
	}
	if !w.out.remove(o) {
		w.load.went(o)
	}
	return true
}

// Dead tells whether a message has died and is not settled.
func (c *Cursor) Dead(o record.Offset) bool { return c.read().dead.has(o) }

// Reject has a message die that the consumer fetched. It returns false if the
// message was not in flight.
func (q *Queue) Reject(c *Consumer, o record.Offset) bool {
	from, o := q.at(o)
	if !from.InFlight(o) {
		return false
	}
	c.release()
	return from.Die(o)
}

// over tells whether a message is settled or dead.
func (w *window) over(o record.Offset) bool { return w.settled.has(o) || w.dead.has(o) }

// open returns the first offset at or after o that is neither settled nor dead.
func (w *window) open(o record.Offset) record.Offset {
	for {
		o = w.settled.next(o)
		if w.dead.count == 0 {
			return o
		}
		next := w.dead.next(o)
		if next == o {
			return o
		}
		o = next
	}
}
