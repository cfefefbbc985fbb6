package queue

import "github.com/tidegate/tidegate/core/record"

// Skip passes over everything below an offset: the stream begins there from now
// on. What is in flight stays so until it is settled or returned; the floor
// rises when nothing below the offset is in flight any more, so call Skip again
// after settling while it is below.
func (c *Cursor) Skip(low record.Offset) {
	c.next = max(c.next, low)
	if c.floor >= low {
		return
	}
	w := c.read()
	if w.out.count > 0 {
		below := false
		w.out.each(func(o record.Offset) { below = below || o < low })
		if below {
			return
		}
	}
	if w.settled.count == 0 {
		c.floor = low
		return
	}
	w.settled.trim(low)
	c.floor = w.settled.next(low)
	w.settled.trim(c.floor)
	c.next = max(c.next, c.floor)
}
