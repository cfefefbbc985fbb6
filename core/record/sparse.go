package record

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// checkSparse tells whether the LSNs of a sparse batch are as a decoder will
// demand.
func checkSparse(b *Batch) error {
	n := len(b.Ends)
	if len(b.Sparse) != n || (b.Times != nil && len(b.Times) != n) || b.Index != 0 ||
		b.Until <= b.Base || uint64(b.Until-b.Base) > maxSpan {
		return fmt.Errorf("sparse batch %d to %d of %d records, %d LSNs, %d times, index %d: %w",
			b.Base, b.Until, n, len(b.Sparse), len(b.Times), b.Index, ErrCorrupt)
	}
	next := uint64(0)
	for _, delta := range b.Sparse {
		if uint64(delta) < next {
			return fmt.Errorf("sparse batch %d: LSNs do not ascend: %w", b.Base, ErrCorrupt)
		}
		next = uint64(delta) + 1
	}
	if next > uint64(b.Until-b.Base) {
		return fmt.Errorf("sparse batch %d: records behind %d: %w", b.Base, b.Until, ErrCorrupt)
	}
	return nil
}

// appendSparse appends the gap table and the time table.
func appendSparse(dst []byte, b *Batch) []byte {
	next := uint32(0)
	for _, delta := range b.Sparse {
		dst = binary.AppendUvarint(dst, uint64(delta-next))
		next = delta + 1
	}
	last := b.First
	for i := range b.Sparse {
		at := b.Time(i)
		dst = binary.AppendVarint(dst, at-last)
		last = at
	}
	return dst
}

// splitSparse builds Sparse and Times from the front of the table, and returns
// the rest of it.
func (b *Batch) splitSparse(table []byte, count int) ([]byte, error) {
	b.Sparse = slices.Grow(b.Sparse[:0], count)
	b.Times = slices.Grow(b.Times[:0], count)
	next, span := uint64(0), uint64(b.Until-b.Base)
	for range count {
		gap, size := binary.Uvarint(table)
		if size <= 0 || gap >= span-next {
			return nil, fmt.Errorf("frame gap table: %w", ErrCorrupt)
		}
		b.Sparse = append(b.Sparse, uint32(next+gap))
		next += gap + 1
		table = table[size:]
	}
	at := b.First
	for range count {
		delta, size := binary.Varint(table)
		if size <= 0 {
			return nil, fmt.Errorf("frame time table: %w", ErrCorrupt)
		}
		at += delta
		b.Times = append(b.Times, at)
		table = table[size:]
	}
	return table, nil
}
