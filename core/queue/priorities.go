package queue

import (
	"math/bits"

	"github.com/tidegate/tidegate/core/record"
)

// priorityAt is the bit from which on an offset that a consumer has tells the priority
// of its message. What is below it is the offset in the stream of that priority.
const priorityAt = 56

// WithPriority is what consumers have for an offset in the stream of a priority.
func WithPriority(o record.Offset, priority uint8) record.Offset {
	return record.Offset(priority)<<priorityAt | o
}

// SplitPriority undoes WithPriority.
func SplitPriority(o record.Offset) (in record.Offset, priority uint8) {
	return o & (1<<priorityAt - 1), uint8(o >> priorityAt)
}

// Source is the messages of one priority of a queue. Those at or above End are not
// there, those at or above Limit have to wait, see Dispatch.
type Source struct {
	Priority   uint8
	Cursor     *Cursor
	End, Limit record.Offset
}

// Priorities is a set of priorities.
type Priorities [4]uint64

// Add adds a priority.
func (p *Priorities) Add(n uint8) { p[n>>6] |= 1 << (n & 63) }

// AddAll adds those of another set.
func (p *Priorities) AddAll(others *Priorities) {
	for i := range p {
		p[i] |= others[i]
	}
}

// Remove removes a priority.
func (p *Priorities) Remove(n uint8) { p[n>>6] &^= 1 << (n & 63) }

// Highest returns the highest priority of the set.
func (p *Priorities) Highest() (uint8, bool) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0 {
			return uint8(i<<6 + bits.Len64(p[i]) - 1), true
		}
	}
	return 0, false
}

// above are the cursors of the priorities above 0, by them; nil where none is.
type above struct {
	cursors []*Cursor
	touched Priorities // see Touched
}

// SetPriority gives the queue the cursor for the messages of a priority above 0. From
// then on use DispatchFrom. Consumers have these messages by WithPriority.
func (q *Queue) SetPriority(priority uint8, c *Cursor) {
	if q.above == nil {
		q.above = new(above)
	}
	for len(q.above.cursors) <= int(priority) {
		q.above.cursors = append(q.above.cursors, nil)
	}
	q.above.cursors[priority] = c
}

// at returns the cursor of what a consumer has, and the offset there.
func (q *Queue) at(o record.Offset) (*Cursor, record.Offset) {
	if q.above == nil {
		return &q.Cursor, o
	}
	in, priority := SplitPriority(o)
	if all := q.above.cursors; int(priority) < len(all) && all[priority] != nil {
		q.above.touched.Add(priority)
		return all[priority], in
	}
	return &q.Cursor, o
}

// Touched returns the priorities above 0 of which consumers had something settled or
// given back since it was last called, and perhaps more.
func (q *Queue) Touched() (touched Priorities) {
	if q.above != nil {
		touched, q.above.touched = q.above.touched, Priorities{}
	}
	return touched
}

// DispatchFrom is a part of Dispatch for messages of several priorities: it assigns
// those of one, and tells whether those were all. Go from the highest priority down,
// and no further where they were not: nothing of one goes before all those that are
// above it, also while these wait for their mark. EndDispatch ends it.
func (q *Queue) DispatchFrom(from Source, woken []*Consumer) (_ []*Consumer, all bool) {
	return q.handOut(from, woken)
}

// EndDispatch ends what DispatchFrom has begun. Woken are those that got something.
func (q *Queue) EndDispatch(woken []*Consumer) {
	for _, c := range woken {
		c.woken = false
	}
}
