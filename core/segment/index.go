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
	p := make([]byte, 0, len(x)*entrySize+statsSize+TrailerSize)
	for _, e := range x {
		p = binary.LittleEndian.AppendUint64(p, uint64(e.lsn))
		p = binary.LittleEndian.AppendUint64(p, uint64(e.pos))
	}
	return p
}

// decodeFooter reads index and statistics of a sealed segment, t.footer bytes,
// and sets the statistics of t.
func decodeFooter(p []byte, t *trailer) (index, error) {
	if checksum(p) != t.indexSum || int64(len(p)) != t.footer() {
		return nil, fmt.Errorf("segment index checksum: %w", record.ErrCorrupt)
	}
	entries, stats := p[:t.entries*entrySize], p[t.entries*entrySize:]
	x := make(index, 0, t.entries)
	low := entry{t.base, HeaderSize}
	for ; len(entries) >= entrySize; entries = entries[entrySize:] {
		e := entry{record.LSN(binary.LittleEndian.Uint64(entries)), int64(binary.LittleEndian.Uint64(entries[8:]))}
		if e.lsn < low.lsn || e.lsn >= t.next || e.pos < low.pos || e.pos >= t.end {
			return nil, fmt.Errorf("segment index entry: %w", record.ErrCorrupt)
		}
		x, low = append(x, e), entry{e.lsn + 1, e.pos + 1}
	}
	if t.counted {
		t.stats.decode(stats)
	}
	return x, nil
}
