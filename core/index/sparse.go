package index

import "github.com/tidegate/tidegate/core/record"

// A list that is rebuilt from a log of which parts are gone has holes: offsets
// that everybody has settled and whose records are not known any more. They are
// filled with the LSN of the reference before them, so that the references still
// ascend and a search never finds them.

// Fill makes the offset the next one, with the LSN for those in between. Each
// takes memory, so let it be few.
func (l *List) Fill(to record.Offset, lsn record.LSN) {
	for l.end < to {
		l.Append(lsn)
	}
}

// Skip is Fill for many, without memory for them. The list must be trimmed to its
// end, or all of it be in the store and end with a full chunk; then the chunks
// that are skipped whole are to be stored, with the LSN as their only reference.
func (l *List) Skip(to record.Offset, lsn record.LSN) {
	start := to &^ (ChunkLen - 1)
	w := l.work()
	w.cache = nil
	w.mem, w.memFrom, w.known = nil, start, start
	l.end, w.dirty = start, start
	l.Fill(to, lsn)
}

// Unskip returns a chunk as it was read from the store with all of its n
// references, if it was skipped.
func Unskip(lsns []record.LSN, n int) []record.LSN {
	if len(lsns) != 1 {
		return lsns
	}
	for len(lsns) < n {
		lsns = append(lsns, lsns[0])
	}
	return lsns
}
