package queue

import "github.com/tidegate/tidegate/core/record"

// Bounds are how much may wait in a queue. What is in flight does not count.
type Bounds struct {
	// Limited has no more than Length messages wait.
	Limited bool
	Length  uint64
	// Weighed has no more than Bytes of payload wait. Only a cursor that counts
	// bytes can be bounded by them.
	Weighed bool
	Bytes   uint64
}

// Over tells whether that much is too much.
func (b *Bounds) Over(length, bytes uint64) bool {
	return b.Limited && length > b.Length || b.Weighed && bytes > b.Bytes
}

// Beside is what the bounds leave where that much waits already.
func (b *Bounds) Beside(length, bytes uint64) Bounds {
	left := *b
	left.Length -= min(length, b.Length)
	left.Bytes -= min(bytes, b.Bytes)
	return left
}

// Shorten has drop settle the first of the messages that wait below end, or have
// them die, until what waits is within the bounds. It returns how many those were.
func (q *Queue) Shorten(end record.Offset, within *Bounds, drop func(record.Offset) bool) (n uint64) {
	for ready := q.Ready(end); ready > 0 && within.Over(ready, q.ReadyBytes()); ready-- {
		o, ok := q.Peek(end)
		if !ok || !drop(o) {
			break
		}
		n++
	}
	return n
}
