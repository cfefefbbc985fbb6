package segment

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// index is the sparse index of a segment: ascending LSNs and the positions of
// their frames.
type index []entry

type entry struct {
	lsn record.LSN
	pos int64
}

// add takes note of a frame with records; most frames need no entry.
func (x *index) add(lsn record.LSN, pos int64) {
	if n := len(*x); n == 0 || pos-(*x)[n-1].pos >= IndexStep {
		*x = append(*x, entry{lsn, pos})
	}
}

// floor is the position of the last indexed frame that begins at or below the
// LSN: the frame that holds it is there or behind.
func (x index) floor(lsn record.LSN) int64 {
	i, found := slices.BinarySearchFunc(x, lsn, func(e entry, lsn record.LSN) int {
		switch {
		case e.lsn < lsn:
			return -1
		case e.lsn > lsn:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return x[i].pos
	case i > 0:
		return x[i-1].pos
	}
	return HeaderSize
}

func (x index) encode() []byte {
	p := make([]byte, 0, len(x)*entrySize+TrailerSize)
	for _, e := range x {
		p = binary.LittleEndian.AppendUint64(p, uint64(e.lsn))
		p = binary.LittleEndian.AppendUint64(p, uint64(e.pos))
	}
	return p
}

// decodeIndex reads the index of a sealed segment. p has the trailer's number
// of entries.
func decodeIndex(p []byte, t *trailer) (index, error) {
	if checksum(p) != t.indexSum {
		return nil, fmt.Errorf("segment index checksum: %w", record.ErrCorrupt)
	}
	x := make(index, 0, len(p)/entrySize)
	low := entry{t.base, HeaderSize}
	for ; len(p) >= entrySize; p = p[entrySize:] {
		e := entry{record.LSN(binary.LittleEndian.Uint64(p)), int64(binary.LittleEndian.Uint64(p[8:]))}
		if e.lsn < low.lsn || e.lsn >= t.next || e.pos < low.pos || e.pos >= t.end {
			return nil, fmt.Errorf("segment index entry: %w", record.ErrCorrupt)
		}
		x, low = append(x, e), entry{e.lsn + 1, e.pos + 1}
	}
	return x, nil
}
