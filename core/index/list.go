// Package index is what a shard keeps of its log's content: which records the
// streams refer to, and the state as of one record from which recovery begins.
//
// A List is the references of one stream: offset → LSN. Its newest part is in
// memory; at a checkpoint full chunks move to a Store, and what was settled by
// then never gets there. The Store is a view of the log: it can be lost.
package index

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

const (
	chunkBits = 8
	// ChunkLen is the number of references in a chunk, the unit of storing.
	ChunkLen = 1 << chunkBits
	// cachedChunks is how many chunks a list keeps that were read back.
	cachedChunks = 4
)

// ErrAway is what a Loader answers that has no time for the store: who holds a
// lock reads the chunk without it, gives it to Install and asks again.
var ErrAway = errors.New("chunk of references is not in memory")

// Loader reads back a chunk that Spill gave away, appending it to dst. It does
// not touch dst when it answers ErrAway.
type Loader interface {
	LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error)
}

// List is the references of one stream in order. The zero List is empty and
// begins at offset 0. It is not safe for concurrent use.
type List struct {
	end record.Offset
	low record.Offset // trimmed below
	w   *work         // nil while the list rests: a million of them may
}

// work is what a list has in memory, or is to do in the store. That of a list that rests
// has nothing: all references are in the store, and what was trimmed is not.
type work struct {
	// mem holds chunks from memFrom on, a multiple of ChunkLen; all but the last
	// are full. Of the first chunk, what lies below known is only in the store.
	mem     [][]record.LSN
	memFrom record.Offset
	known   record.Offset
	dirty   record.Offset // what is at or above is not in the store
	stored  uint64        // chunks below this number are not in the store any more
	cache   *chunkCache   // of what was read back; nil when empty
}

type chunkCache struct {
	chunks [cachedChunks]struct {
		no   uint64
		lsns []record.LSN
	}
	turn int
}

// Restore makes a list as a checkpoint has it: with offsets from low to end, all
// of them in the store.
func Restore(low, end record.Offset) List { return List{end: end, low: low} }

// work returns what the list has in memory, to be changed.
func (l *List) work() *work {
	if l.w == nil {
		l.w = &work{
			memFrom: l.end &^ (ChunkLen - 1), known: l.end, dirty: l.end, stored: uint64(l.low) >> chunkBits,
		}
	}
	return l.w
}

// Append adds a reference at the end and returns its offset.
func (l *List) Append(lsn record.LSN) record.Offset {
	o, w := l.end, l.work()
	i := int((o - w.memFrom) >> chunkBits)
	if i >= len(w.mem) {
		if len(w.mem) == 0 {
			w.memFrom, w.known, i = o&^(ChunkLen-1), o, 0
		}
		w.mem = append(w.mem, nil)
	}
	if at := int(o & (ChunkLen - 1)); len(w.mem[i]) < at { // the chunk begins in the store
		w.mem[i] = append(w.mem[i], make([]record.LSN, at-len(w.mem[i]))...)
	}
	w.mem[i] = append(w.mem[i], lsn)
	l.end++
	return o
}

// Get returns the record of an offset; false if it was trimmed or is not there yet.
func (l *List) Get(o record.Offset, from Loader) (record.LSN, bool, error) {
	if o < l.low || o >= l.end {
		return 0, false, nil
	}
	if w := l.w; w != nil && o >= w.known && len(w.mem) > 0 && o >= w.memFrom {
		return w.mem[(o-w.memFrom)>>chunkBits][o&(ChunkLen-1)], true, nil
	}
	lsns, err := l.load(uint64(o)>>chunkBits, from)
	if err != nil {
		return 0, false, err
	}
	i := int(o & (ChunkLen - 1))
	if i >= len(lsns) || lsns[i] == 0 {
		return 0, false, fmt.Errorf("reference %d is not in the index", o)
	}
	return lsns[i], true, nil
}

// load returns a stored chunk.
func (l *List) load(no uint64, from Loader) ([]record.LSN, error) {
	w := l.work()
	if w.cache == nil {
		w.cache = new(chunkCache)
	}
	c := w.cache
	for i := range c.chunks {
		if c.chunks[i].no == no && c.chunks[i].lsns != nil {
			return c.chunks[i].lsns, nil
		}
	}
	slot := &c.chunks[c.turn]
	lsns, err := from.LoadChunk(no, slot.lsns[:0])
	if errors.Is(err, ErrAway) {
		return nil, err
	}
	c.turn = (c.turn + 1) % cachedChunks
	lsns = Unskip(lsns, l.Stored(no))
	slot.no, slot.lsns = no, lsns
	if err != nil {
		slot.lsns = nil
		return nil, fmt.Errorf("load references from %d: %w", no<<chunkBits, err)
	}
	return lsns, nil
}

// End returns the offset that the next reference will get.
func (l *List) End() record.Offset { return l.end }

// Low returns the offset below which references were trimmed.
func (l *List) Low() record.Offset { return l.low }

// Trim forgets references below the offset. Memory is freed in whole chunks;
// the last one is reused, so a queue that runs empty costs nothing.
func (l *List) Trim(below record.Offset) {
	below = min(below, l.end)
	if below <= l.low {
		return
	}
	if l.w == nil && uint64(below)>>chunkBits == uint64(l.low)>>chunkBits {
		l.low = below // the store has no chunk to lose
		return
	}
	w := l.work()
	l.low = below
	if len(w.mem) == 0 {
		return
	}
	if below == l.end {
		last := w.mem[len(w.mem)-1]
		if below&(ChunkLen-1) == 0 {
			last = last[:0] // full: its memory serves the next chunk
		}
		clear(w.mem)
		w.mem = append(w.mem[:0], last)
		w.memFrom = below &^ (ChunkLen - 1)
		w.known = max(w.known, w.memFrom)
		return
	}
	n := min(int((below-min(below, w.memFrom))>>chunkBits), len(w.mem))
	clear(w.mem[:n])
	w.mem = w.mem[n:]
	w.memFrom += record.Offset(n) << chunkBits
	w.known = max(w.known, w.memFrom)
}

// Dirty tells whether Spill would do something.
func (l *List) Dirty() bool {
	return l.w != nil && (l.w.dirty < l.end || l.w.stored < uint64(l.low)>>chunkBits)
}

// Spill gives the references that are not in the store yet to put, a chunk at a
// time and only chunks that are not settled whole, and tells by drop which
// chunks are of no use any more, as a range of numbers. When all that is
// committed, call Spilled.
func (l *List) Spill(from Loader, put func(no uint64, lsns []record.LSN), drop func(first, end uint64)) error {
	w := l.w
	if w == nil {
		return nil
	}
	if first := uint64(l.low) >> chunkBits; w.stored < first {
		drop(w.stored, first)
		w.stored = first
	}
	if l.low == l.end || w.dirty == l.end {
		return nil
	}
	for no := uint64(max(w.dirty, l.low)) >> chunkBits; record.Offset(no)<<chunkBits < l.end; no++ {
		lsns := w.mem[no-uint64(w.memFrom)>>chunkBits]
		start := record.Offset(no) << chunkBits
		if start < w.known && l.low < w.known { // its beginning is in the store only
			begin, err := l.load(no, from)
			if err != nil {
				return err
			}
			copy(lsns, begin[:min(len(begin), int(w.known-start))])
			w.known = start
		}
		put(no, lsns)
	}
	return nil
}

// Spilled notes that what Spill gave away is in the store, and frees the memory
// of all but the last chunk. Nothing may be appended in between.
func (l *List) Spilled() {
	w := l.w
	if w == nil {
		return
	}
	w.dirty = l.end
	if l.low == l.end || l.end&(ChunkLen-1) == 0 {
		l.Rest()
		return
	}
	w.cache = nil
	if n := len(w.mem) - 1; n > 0 {
		last := w.mem[n]
		w.mem = [][]record.LSN{last}
		w.memFrom = l.end &^ (ChunkLen - 1)
		w.known = max(w.known, w.memFrom)
	}
}

// Rest frees all memory of a list whose references are all in the store.
func (l *List) Rest() {
	w := l.w
	if w == nil {
		return
	}
	w.cache = nil
	if w.dirty < l.end {
		return
	}
	w.mem, w.memFrom, w.known = nil, l.end&^(ChunkLen-1), l.end
	if w.stored == uint64(l.low)>>chunkBits {
		l.w = nil
	}
}
