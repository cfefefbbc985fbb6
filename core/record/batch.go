package record

import (
	"fmt"
	"math"
	"slices"
)

// Batch is a run of records in ascending order of LSN: the unit of group
// commit, compression, checksum and replication. Its LSNs follow each other
// without a gap in a dense batch, which is how it was committed. A sparse one
// comes from a rewritten segment and covers also the LSNs of records that are
// gone. The zero value is an empty dense batch. It is not safe for concurrent
// use.
type Batch struct {
	// Base is the LSN of the first record of a dense batch, and the first LSN
	// that a sparse one covers.
	Base LSN
	// Term and Index place the batch in the replicated log. A sparse batch has
	// no Index.
	Term, Index uint64
	// First and Last are the times of the first and the last record, unix
	// milliseconds.
	First, Last int64
	// Raw holds the records one after the other. Records returned by
	// [Batch.Record] alias it.
	Raw []byte
	// Ends holds the end of each record in Raw.
	Ends []uint32
	// Sync asks that the batch is on stable storage before it is committed.
	Sync bool
	// Small asks for the codec that takes more time and less room, see
	// [Encoder]. It is not stored.
	Small bool

	// Until is the LSN behind the range that a sparse batch covers; 0 makes the
	// batch a dense one.
	Until LSN
	// Sparse holds the LSN less Base of each record of a sparse batch.
	Sparse []uint32
	// Times holds the time of each record of a batch that was made of several,
	// unix milliseconds. It is nil when First is the time of all.
	Times []int64
}

// maxSpan is the largest range that a sparse batch covers.
const maxSpan = math.MaxUint32

// Len is the number of records.
func (b *Batch) Len() int { return len(b.Ends) }

// Next is the LSN behind the range that the batch covers.
func (b *Batch) Next() LSN {
	if b.Until != 0 {
		return b.Until
	}
	return b.Base + LSN(len(b.Ends))
}

// LSN returns the LSN of record i, which must be below Len.
func (b *Batch) LSN(i int) LSN {
	if b.Until != 0 {
		return b.Base + LSN(b.Sparse[i])
	}
	return b.Base + LSN(i)
}

// Find returns the place of the record with the LSN, if the batch has it.
func (b *Batch) Find(lsn LSN) (i int, ok bool) {
	if lsn < b.Base || lsn >= b.Next() {
		return 0, false
	}
	if b.Until == 0 {
		return int(lsn - b.Base), true
	}
	return slices.BinarySearch(b.Sparse, uint32(lsn-b.Base))
}

// Time returns the time of record i, which must be below Len: that of the
// batch in which it was committed, unix milliseconds.
func (b *Batch) Time(i int) int64 {
	if b.Times != nil {
		return b.Times[i]
	}
	return b.First
}

// Record returns the kind and the body of record i, which must be below Len.
// The body is valid until the batch is changed.
func (b *Batch) Record(i int) (Kind, []byte) {
	start := uint32(0)
	if i > 0 {
		start = b.Ends[i-1]
	}
	end := b.Ends[i]
	return Kind(b.Raw[start]), b.Raw[start+1 : end : end]
}

// Begin opens a record. The caller then appends the body to Raw, and calls
// End before anything else.
func (b *Batch) Begin(kind Kind) { b.Raw = append(b.Raw, byte(kind)) }

// End closes the record that Begin opened.
func (b *Batch) End() { b.Ends = append(b.Ends, uint32(len(b.Raw))) }

// Reset empties the batch and keeps its buffers.
func (b *Batch) Reset() {
	*b = Batch{Raw: b.Raw[:0], Ends: b.Ends[:0], Sparse: b.Sparse[:0], Times: b.Times[:0]}
}

// ResetSparse empties the batch, keeps its buffers, and makes it a sparse one
// that covers nothing yet, from base on.
func (b *Batch) ResetSparse(base LSN) {
	b.Reset()
	b.Base, b.Until = base, base
}

// Cover extends the range of a sparse batch up to next without a record.
// ErrTooLarge when the range gets longer than a batch may cover.
func (b *Batch) Cover(next LSN) error {
	if next < b.Until || uint64(next-b.Base) > maxSpan {
		return fmt.Errorf("batch %d to %d, cover up to %d: %w", b.Base, b.Until, next, ErrTooLarge)
	}
	b.Until = next
	return nil
}

// Take appends record i of another batch, with its LSN and its time, to a
// sparse batch, whose range then ends behind it. The record must lie behind
// that range.
func (b *Batch) Take(from *Batch, i int) error {
	kind, body := from.Record(i)
	return b.Put(from.LSN(i), from.Time(i), kind, body)
}

// Put is Take for a record that is given as what it consists of.
func (b *Batch) Put(lsn LSN, at int64, kind Kind, body []byte) error {
	if lsn < b.Until || uint64(lsn-b.Base) >= maxSpan {
		return fmt.Errorf("batch %d to %d, take record %d: %w", b.Base, b.Until, lsn, ErrTooLarge)
	}
	b.Raw = append(append(b.Raw, byte(kind)), body...)
	b.Ends = append(b.Ends, uint32(len(b.Raw)))
	b.Sparse = append(b.Sparse, uint32(lsn-b.Base))
	b.note(at)
	b.Until = lsn + 1
	return nil
}

// Extend appends all of another batch to a sparse one, whose range then covers
// both. The other must lie behind that range. ErrTooLarge leaves the batch as
// it was.
func (b *Batch) Extend(o *Batch) error {
	if o.Base < b.Until || uint64(o.Next()-b.Base) > maxSpan || len(b.Raw)+len(o.Raw) > MaxRaw {
		return fmt.Errorf("batch %d to %d, extend by %d: %w", b.Base, b.Until, o.Base, ErrTooLarge)
	}
	start := uint32(len(b.Raw))
	b.Raw = append(b.Raw, o.Raw...)
	for i, end := range o.Ends {
		b.Ends = append(b.Ends, start+end)
		b.Sparse = append(b.Sparse, uint32(o.LSN(i)-b.Base))
		b.note(o.Time(i))
	}
	b.Until = o.Next()
	return nil
}

// note keeps the time of the record that was just appended.
func (b *Batch) note(at int64) {
	if len(b.Ends) == 1 {
		b.First = at
	}
	b.Last = at
	b.Times = append(b.Times, at)
}
