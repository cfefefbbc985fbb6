package index

import "github.com/tidegate/tidegate/core/record"

// Stored returns how many references of a chunk are in the store, from its
// beginning: what a chunk read from there must have. 0 for one that was trimmed.
func (l *List) Stored(no uint64) int {
	start := record.Offset(no) << chunkBits
	known := l.end
	if l.w != nil {
		known = l.w.known
	}
	if start+ChunkLen <= l.low || start >= known {
		return 0
	}
	return int(min(known-start, ChunkLen))
}

// Install keeps a chunk that was read from the store, and its memory, for the
// next Get. One that has become too short meanwhile is left out: it is to be read
// again.
func (l *List) Install(no uint64, lsns []record.LSN) {
	if n := l.Stored(no); n == 0 || len(lsns) < n {
		return
	}
	w := l.work()
	if w.cache == nil {
		w.cache = new(chunkCache)
	}
	c := w.cache
	slot := &c.chunks[c.turn]
	for i := range c.chunks {
		if c.chunks[i].lsns != nil && c.chunks[i].no == no {
			c.chunks[i].lsns = lsns
			return
		}
	}
	c.turn = (c.turn + 1) % cachedChunks
	slot.no, slot.lsns = no, lsns
}

// SpillNeeds returns the chunk that Spill would load.
func (l *List) SpillNeeds() (no uint64, needs bool) {
	w := l.w
	if w == nil || l.low == l.end || w.dirty == l.end {
		return 0, false
	}
	first := max(w.dirty, l.low) &^ (ChunkLen - 1)
	return uint64(first) >> chunkBits, first < w.known && l.low < w.known
}

// Search is a Find or a Seek in progress: with a loader that answers ErrAway it
// takes several calls, and each goes on where the one before stopped. The zero
// Search is a new one.
type Search struct {
	begun     bool
	low, high record.Offset // the reference is not below low, and not above high
}

// Find returns the offset of the reference to a record, if the list still has
// one. References ascend with their records.
func (l *List) Find(lsn record.LSN, at *Search, from Loader) (record.Offset, bool, error) {
	o, got, ok, err := l.Seek(lsn, at, from)
	if err != nil {
		return 0, false, err
	}
	return o, ok && got == lsn, nil
}

// Seek returns the first reference to a record at or behind the LSN, and that
// record; false when there is none.
func (l *List) Seek(lsn record.LSN, at *Search, from Loader) (record.Offset, record.LSN, bool, error) {
	if !at.begun {
		*at = Search{begun: true, low: l.low, high: l.end}
	}
	at.low = max(at.low, l.low)
	for at.low < at.high {
		middle := at.low + (at.high-at.low)/2
		got, _, err := l.Get(middle, from)
		if err != nil {
			return 0, 0, false, err
		}
		if got < lsn {
			at.low = middle + 1
		} else {
			at.high = middle
		}
	}
	got, ok, err := l.Get(at.low, from)
	if ok && got < lsn { // it was appended meanwhile
		at.low, at.high = at.low+1, l.end
		return l.Seek(lsn, at, from)
	}
	return at.low, got, ok, err
}
