package queue

import "github.com/tidegate/tidegate/core/record"

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

// above are the cursors of the priorities above 0, by them; nil where none is.
type above []*Cursor

// SetPriority gives the queue the cursor for the messages of a priority above 0. From
// then on use DispatchAll. Consumers have these messages by WithPriority.
func (q *Queue) SetPriority(priority uint8, c *Cursor) {
	if q.above == nil {
		q.above = new(above)
	}
	for len(*q.above) <= int(priority) {
		*q.above = append(*q.above, nil)
	}
	(*q.above)[priority] = c
}

// at returns the cursor of what a consumer has, and the offset there.
func (q *Queue) at(o record.Offset) (*Cursor, record.Offset) {
	if q.above == nil {
		return &q.Cursor, o
	}
	in, priority := SplitPriority(o)
	if all := *q.above; int(priority) < len(all) && all[priority] != nil {
		return all[priority], in
	}
	return &q.Cursor, o
}

// DispatchAll is Dispatch for messages of several priorities. The sources come by
// falling priority: nothing of one goes before all those that are above it, also while
// these wait for their mark.
func (q *Queue) DispatchAll(sources []Source, woken []*Consumer) []*Consumer {
	if len(q.levels) == 0 {
		return woken
	}
	first := len(woken)
	for _, from := range sources {
		var all bool
		if woken, all = q.handOut(from, woken); !all {
			break
		}
	}
	for _, c := range woken[first:] {
		c.woken = false
	}
	return woken
}
