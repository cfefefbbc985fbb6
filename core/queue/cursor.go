// Package queue holds the delivery state of streams: how far a cursor has got,
// what is in flight, what comes back, and which of a queue's consumers gets
// the next message. It is pure: no clock, no I/O, no locks; the owner of the
// shard calls it under its lock.
package queue

import "github.com/tidegate/tidegate/core/record"

// Cursor is how far one reader of a stream has got. Each offset below the
// stream's end is in one of four states: settled, in flight, returned (waits
// for its redelivery) or fresh. The zero Cursor begins at offset 0.
type Cursor struct {
	floor   record.Offset // everything below is settled
	next    record.Offset // the first offset never handed out since the start
	settled bitset        // settled offsets at or above floor
	out     bitset        // in flight
	back    heap          // returned; may hold offsets settled meanwhile
	// marked bounds what may have been delivered before a crash: the log says
	// that offsets below it may have been handed out.
	marked record.Offset
	// suspect is marked as it was at recovery: unsettled offsets below it are
	// handed out as redelivered.
	suspect record.Offset
	// acks are ranges settled since the last TakeAcks, not yet in the log.
	acks []record.Range
}

// NewCursor makes a cursor that begins at an offset.
func NewCursor(at record.Offset) *Cursor { return &Cursor{floor: at, next: at} }

// Take hands out the next message below end: the lowest returned one, else the
// next fresh one. redelivered tells that it may have been delivered before.
func (c *Cursor) Take(end record.Offset) (o record.Offset, redelivered, ok bool) {
	for len(c.back) > 0 {
		r := c.back.pop()
		if r.offset < c.floor || c.settled.has(r.offset) {
			continue
		}
		c.out.set(r.offset)
		return r.offset, r.redelivered, true
	}
	c.next = c.settled.next(max(c.next, c.floor))
	if c.next >= end {
		return 0, false, false
	}
	o = c.next
	c.out.set(o)
	c.next++
	return o, o < c.suspect, true
}

// Peek returns the offset that Take would hand out.
func (c *Cursor) Peek(end record.Offset) (record.Offset, bool) {
	for len(c.back) > 0 {
		if o := c.back[0].offset; o >= c.floor && !c.settled.has(o) {
			return o, true
		}
		c.back.pop()
	}
	c.next = c.settled.next(max(c.next, c.floor))
	return c.next, c.next < end
}

// Settle ends a message, whatever its state. It returns false if it already was.
func (c *Cursor) Settle(o record.Offset) bool {
	if !c.settle(o) {
		return false
	}
	if n := len(c.acks); n > 0 && c.acks[n-1].End == o {
		c.acks[n-1].End++
	} else {
		c.acks = append(c.acks, record.Range{First: o, End: o + 1})
	}
	return true
}

// Apply settles the ranges of a log record. It is idempotent, and clamps what
// lies beyond end.
func (c *Cursor) Apply(ranges []record.Range, end record.Offset) {
	for _, r := range ranges {
		if r.First <= c.floor && r.End > c.floor && c.out.count == 0 && c.settled.count == 0 {
			c.floor = min(r.End, end)
			c.next = max(c.next, c.floor)
			continue
		}
		for o := max(r.First, c.floor); o < r.End && o < end; o++ {
			c.settle(o)
		}
	}
}

func (c *Cursor) settle(o record.Offset) bool {
	if o < c.floor || c.settled.has(o) {
		return false
	}
	c.out.remove(o)
	if o != c.floor {
		return c.settled.set(o)
	}
	c.floor++
	if c.settled.count > 0 {
		c.floor = c.settled.next(c.floor)
		c.settled.trim(c.floor)
	}
	if c.next < c.floor {
		c.next = c.floor
	}
	return true
}

// Return puts a message in flight back to its original place.
func (c *Cursor) Return(o record.Offset, redelivered bool) bool {
	if !c.out.remove(o) {
		return false
	}
	c.back.push(returned{o, redelivered})
	return true
}

// Reserve marks a fresh message as in flight without handing it out.
func (c *Cursor) Reserve(o, end record.Offset) bool {
	if o < c.floor || o >= end || c.settled.has(o) || !c.out.set(o) {
		return false
	}
	if o < c.next {
		c.back.remove(o)
		return true
	}
	for p := max(c.next, c.floor); p < o; p++ {
		if !c.settled.has(p) && !c.out.has(p) {
			c.back.push(returned{p, p < c.suspect})
		}
	}
	c.next = max(c.next, o+1)
	return true
}

// InFlight tells whether a message is handed out and not settled.
func (c *Cursor) InFlight(o record.Offset) bool { return c.out.has(o) }

// Settled tells whether a message is done.
func (c *Cursor) Settled(o record.Offset) bool { return o < c.floor || c.settled.has(o) }

// Purge settles every message below end that is not in flight, and returns
// how many those were.
func (c *Cursor) Purge(end record.Offset) uint64 {
	var n uint64
	for o := c.settled.next(c.floor); o < end; o = c.settled.next(o + 1) {
		if !c.out.has(o) && c.Settle(o) {
			n++
		}
	}
	return n
}

// Floor returns the offset below which everything is settled.
func (c *Cursor) Floor() record.Offset { return c.floor }

// Ready counts the messages below end that wait to be handed out.
func (c *Cursor) Ready(end record.Offset) uint64 {
	return uint64(end-c.floor) - uint64(c.settled.count) - uint64(c.out.count)
}

// Unsettled counts the messages in flight.
func (c *Cursor) Unsettled() uint64 { return uint64(c.out.count) }

// Marked returns the bound below which offsets may be handed out, see Mark.
func (c *Cursor) Marked() record.Offset { return c.marked }

// Mark sets the bound below which the log says that messages may have been
// delivered. At recovery the unsettled messages below it are suspects of
// having been delivered.
func (c *Cursor) Mark(o record.Offset, recovering bool) {
	c.marked = o
	if recovering {
		c.suspect = o
	}
}

// Next returns the first offset never handed out.
func (c *Cursor) Next() record.Offset { return c.next }

// TakeAcks returns the ranges settled since it was last called. They are
// ascending and disjoint, and valid until the next Settle.
func (c *Cursor) TakeAcks() []record.Range {
	a := c.acks
	c.acks = c.acks[:0]
	return normalize(a)
}

// HasAcks tells whether TakeAcks would return something.
func (c *Cursor) HasAcks() bool { return len(c.acks) > 0 }

// Ranges returns up to limit settled ranges above the floor.
func (c *Cursor) Ranges(limit int) []record.Range {
	var out []record.Range
	if c.settled.count == 0 {
		return nil
	}
	c.settled.each(func(o record.Offset) {
		if n := len(out); n > 0 && out[n-1].End == o {
			out[n-1].End++
		} else if n < limit {
			out = append(out, record.Range{First: o, End: o + 1})
		}
	})
	return out
}

// Suspect returns the bound below which an unsettled message may have been
// delivered before the last recovery.
func (c *Cursor) Suspect() record.Offset { return c.suspect }

// ReturnAll puts every message in flight back, to be redelivered.
func (c *Cursor) ReturnAll() {
	var all []record.Offset
	c.out.each(func(o record.Offset) { all = append(all, o) })
	for _, o := range all {
		c.Return(o, true)
	}
}
