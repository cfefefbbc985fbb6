// Package queue holds the delivery state of streams: how far a cursor has got,
// what is in flight, what comes back, and which of a queue's consumers gets
// the next message. It is pure: no clock, no I/O, no locks; the owner of the
// shard calls it under its lock.
package queue

import "github.com/tidegate/tidegate/core/record"

// Cursor is how far one reader of a stream has got. Each offset below the
// stream's end is in one of five states: settled, in flight, returned (waits
// for its redelivery), dead (given up, but not settled yet) or fresh. The zero Cursor begins at offset 0.
type Cursor struct {
	floor record.Offset // everything below is settled
	next  record.Offset // the first offset never handed out since the start
	// marked bounds what may have been delivered before a crash: the log says
	// that offsets below it may have been handed out.
	marked record.Offset
	// suspect is marked as it was at recovery: unsettled offsets below it are
	// handed out as redelivered.
	suspect record.Offset
	w       *window // nil while the cursor rests
}

// window is what a cursor knows of single offsets at or above its floor.
type window struct {
	settled bitset
	out     bitset // in flight
	dead    bitset // see Die
	back    heap   // returned; may hold offsets settled meanwhile
	// acks are ranges settled since the last TakeAcks, not yet in the log.
	acks []record.Range
	load *load // nil unless bytes are counted
}

// rest stands for the window of a cursor that has none; it is never changed.
var rest = new(window)

// read returns the window to look at.
func (c *Cursor) read() *window {
	if c.w == nil {
		return rest
	}
	return c.w
}

// write returns the window to change.
func (c *Cursor) write() *window {
	if c.w == nil {
		c.w = new(window)
	}
	return c.w
}

// Rest frees what a cursor without anything in flight does not need.
func (c *Cursor) Rest() {
	if w := c.w; w != nil && w.load == nil && w.settled.count+w.out.count+w.dead.count+len(w.back)+len(w.acks) == 0 {
		c.w = nil
	}
}

// RestoreCursor makes a cursor as a checkpoint has it.
func RestoreCursor(floor, marked record.Offset, settled []record.Range) Cursor {
	c := Cursor{floor: floor, next: floor, marked: marked, suspect: marked}
	for _, r := range settled {
		c.write().settled.setRange(r.First, r.End)
	}
	return c
}

// NewCursor makes a cursor that begins at an offset.
func NewCursor(at record.Offset) *Cursor { return &Cursor{floor: at, next: at} }

// Take hands out the next message below end: the lowest returned one, else the
// next fresh one. redelivered tells that it may have been delivered before.
func (c *Cursor) Take(end record.Offset) (o record.Offset, redelivered, ok bool) {
	w := c.write()
	for len(w.back) > 0 {
		r := w.back.pop()
		if r.offset < c.floor || w.over(r.offset) {
			continue
		}
		w.out.set(r.offset)
		w.load.went(r.offset)
		return r.offset, r.redelivered, true
	}
	c.next = w.open(max(c.next, c.floor))
	if c.next >= end {
		return 0, false, false
	}
	o = c.next
	w.out.set(o)
	w.load.went(o)
	c.next++
	return o, o < c.suspect, true
}

// Peek returns the offset that Take would hand out.
func (c *Cursor) Peek(end record.Offset) (record.Offset, bool) {
	w := c.read()
	for len(w.back) > 0 {
		if o := w.back[0].offset; o >= c.floor && !w.over(o) {
			return o, true
		}
		w.back.pop()
	}
	c.next = w.open(max(c.next, c.floor))
	return c.next, c.next < end
}

// Settle ends a message, whatever its state. It returns false if it already was.
func (c *Cursor) Settle(o record.Offset) bool {
	if !c.settle(o) {
		return false
	}
	w := c.write()
	if n := len(w.acks); n > 0 && w.acks[n-1].End == o {
		w.acks[n-1].End++
	} else {
		w.acks = append(w.acks, record.Range{First: o, End: o + 1})
	}
	return true
}

// Apply settles the ranges of a log record. It is idempotent, and clamps what
// lies beyond end.
func (c *Cursor) Apply(ranges []record.Range, end record.Offset) {
	for _, r := range ranges {
		r.First, r.End = max(r.First, c.floor), min(r.End, end)
		switch {
		case r.First >= r.End:
		case c.read().out.count+c.read().dead.count > 0:
			for o := r.First; o < r.End; o++ {
				c.settle(o)
			}
		case r.First == c.floor:
			c.pass(r.End)
		default:
			c.write().settled.setRange(r.First, r.End)
		}
	}
	if l := c.read().load; l != nil {
		c.CountBytes(l.sizes, end)
	}
}

// pass moves the floor up to an offset at least.
func (c *Cursor) pass(to record.Offset) {
	c.floor = to
	if c.read().settled.count > 0 {
		c.w.settled.trim(to)
		c.floor = c.w.settled.next(to)
		c.w.settled.trim(c.floor)
	}
	c.next = max(c.next, c.floor)
}

// Doubt notes that any message below end may have been delivered before: what
// would tell is lost.
func (c *Cursor) Doubt(end record.Offset) {
	c.marked = max(c.marked, end)
	c.suspect = c.marked
}

func (c *Cursor) settle(o record.Offset) bool {
	if c.Settled(o) {
		return false
	}
	w := c.write()
	switch {
	case w.out.remove(o), w.dead.remove(o): // did not wait
	default:
		w.load.went(o)
	}
	if o != c.floor {
		return w.settled.set(o)
	}
	c.floor++
	if w.settled.count > 0 {
		c.floor = w.settled.next(c.floor)
		w.settled.trim(c.floor)
	}
	if c.next < c.floor {
		c.next = c.floor
	}
	return true
}

// Return puts a message in flight back to its original place.
func (c *Cursor) Return(o record.Offset, redelivered bool) bool {
	w := c.write()
	if !w.out.remove(o) {
		return false
	}
	w.back.push(returned{o, redelivered})
	w.load.came(o)
	return true
}

// Reserve marks a fresh message as in flight without handing it out.
func (c *Cursor) Reserve(o, end record.Offset) bool {
	w := c.write()
	if o < c.floor || o >= end || w.over(o) || !w.out.set(o) {
		return false
	}
	w.load.went(o)
	if o < c.next {
		w.back.remove(o)
		return true
	}
	for p := max(c.next, c.floor); p < o; p++ {
		if !w.over(p) && !w.out.has(p) {
			w.back.push(returned{p, p < c.suspect})
		}
	}
	c.next = max(c.next, o+1)
	return true
}

// InFlight tells whether a message is handed out and not settled.
func (c *Cursor) InFlight(o record.Offset) bool { return c.read().out.has(o) }

// Settled tells whether a message is done.
func (c *Cursor) Settled(o record.Offset) bool { return o < c.floor || c.read().settled.has(o) }

// Purge settles every message below end that is not in flight and not dead, and
// returns how many those were.
func (c *Cursor) Purge(end record.Offset) uint64 {
	var n uint64
	w := c.write()
	for o := w.settled.next(c.floor); o < end; o = w.settled.next(o + 1) {
		if !w.out.has(o) && !w.dead.has(o) && c.Settle(o) {
			n++
		}
	}
	return n
}

// Floor returns the offset below which everything is settled.
func (c *Cursor) Floor() record.Offset { return c.floor }

// Ready counts the messages below end that wait to be handed out.
func (c *Cursor) Ready(end record.Offset) uint64 {
	w := c.read()
	return uint64(end-c.floor) - uint64(w.settled.count) - uint64(w.out.count) - uint64(w.dead.count)
}

// Unsettled counts the messages in flight.
func (c *Cursor) Unsettled() uint64 { return uint64(c.read().out.count) }

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
	if c.w == nil {
		return nil
	}
	a := c.w.acks
	c.w.acks = a[:0]
	return normalize(a)
}

// HasAcks tells whether TakeAcks would return something.
func (c *Cursor) HasAcks() bool { return len(c.read().acks) > 0 }

// Ranges returns up to limit settled ranges above the floor.
func (c *Cursor) Ranges(limit int) []record.Range {
	settled := &c.read().settled
	if settled.count == 0 {
		return nil
	}
	return settled.ranges(nil, limit)
}

// Suspect returns the bound below which an unsettled message may have been
// delivered before the last recovery.
func (c *Cursor) Suspect() record.Offset { return c.suspect }

// ReturnAll puts every message in flight back, to be redelivered.
func (c *Cursor) ReturnAll() {
	var all []record.Offset
	c.read().out.each(func(o record.Offset) { all = append(all, o) })
	for _, o := range all {
		c.Return(o, true)
	}
}
