package shard

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// exactCursors is how many cursors of a stream are looked at one by one. Of a
// stream with more, everything above the floor of the slowest counts as needed.
const exactCursors = 8

// view is a stream as of a snapshot: which of its references are needed.
type view struct {
	id        record.StreamID
	transient bool
	since     record.LSN
	floor     record.Offset // nothing below is needed
	end       record.Offset
	cursors   []index.Cursor // with ranges above the floor, if they are looked at

	no   uint64       // of the chunk that was read last
	lsns []record.LSN // that chunk; empty when there is none
	// compacted tells that messages were taken out of the stream: gone are those of
	// the chunk.
	compacted bool
	gone      index.Bits
}

// viewOf reads the cursors of a stream.
//
// A queue has one cursor, which is not stored before it has moved. A filter
// needs what one of its sessions has not settled; without any it needs nothing,
// since a new one begins at the stream's end. The cursors of a transient stream
// are not stored, so it needs all that it has not forgotten. A stream queue needs
// all from its beginning on, but for what compaction took out.
func viewOf(snap index.Snapshot, info *index.Stream, transient bool) (*view, error) {
	v := &view{id: info.ID, transient: transient, since: info.Since, floor: info.Low, end: info.End}
	if transient || info.Kept {
		v.compacted = info.Compacted
		return v, nil
	}
	cursors, slowest := 0, noLimit
	err := snap.Scan(index.CursorsKey(info.ID), func(_, value []byte) error {
		var c index.Cursor
		if err := index.DecodeCursor(value, &c); err != nil {
			return err
		}
		cursors++
		slowest = min(slowest, c.Floor)
		switch {
		case cursors <= exactCursors:
			v.cursors = append(v.cursors, c)
		case v.cursors != nil:
			v.cursors = nil
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case cursors > 0:
		v.floor = max(v.floor, slowest)
	case info.Filter:
		v.floor = v.end
	}
	if !slices.ContainsFunc(v.cursors, func(c index.Cursor) bool { return c.Floor > v.floor || len(c.Ranges) > 0 }) {
		v.cursors = nil // the floor says it all
	}
	return v, nil
}

// needs tells whether a cursor has not settled the offset.
func (v *view) needs(o record.Offset) bool {
	if o < v.floor || o >= v.end {
		return false
	}
	if v.cursors == nil {
		return true
	}
	return slices.ContainsFunc(v.cursors, func(c index.Cursor) bool { return !isSettled(&c, o) })
}

// keeps tells whether the stream needs the offset and still has it: compaction
// did not take it out. It is cheap for offsets in ascending order.
func (v *view) keeps(snap index.Snapshot, o record.Offset) (bool, error) {
	if !v.needs(o) || !v.compacted {
		return v.needs(o), nil
	}
	if no := chunkOf(o); len(v.lsns) == 0 || v.no != no {
		if err := v.load(snap, no); err != nil {
			return false, err
		}
	}
	return !v.gone.Has(o), nil
}

func isSettled(c *index.Cursor, o record.Offset) bool {
	if o < c.Floor {
		return true
	}
	i := sort.Search(len(c.Ranges), func(i int) bool { return c.Ranges[i].End > o })
	return i < len(c.Ranges) && o >= c.Ranges[i].First
}

// find returns the offset at which the stream refers to a record, if it needs
// that. It is cheap for records in ascending order.
func (v *view) find(snap index.Snapshot, lsn record.LSN) (record.Offset, bool, error) {
	if v.floor >= v.end || lsn < v.since {
		return 0, false, nil
	}
	first, last := uint64(v.floor)/index.ChunkLen, uint64(v.end-1)/index.ChunkLen
	if len(v.lsns) == 0 { // the first one tells most of what is settled
		if err := v.load(snap, first); err != nil {
			return 0, false, err
		}
	}
	if v.no < last && v.behind(lsn) {
		if err := v.load(snap, v.no+1); err != nil {
			return 0, false, err
		}
	}
	if v.behind(lsn) || v.before(lsn) {
		low, high := first, last
		if v.behind(lsn) {
			low = v.no + 1
		} else {
			high = v.no
		}
		if err := v.seek(snap, low, high, lsn); err != nil {
			return 0, false, err
		}
	}
	i, found := slices.BinarySearch(v.lsns, lsn)
	o := record.Offset(v.no)*index.ChunkLen + record.Offset(i)
	return o, found && v.needs(o) && !v.gone.Has(o), nil
}

// behind tells whether the record lies behind the chunk that is at hand.
func (v *view) behind(lsn record.LSN) bool { return lsn > v.lsns[len(v.lsns)-1] }

// before tells whether the record may lie in a chunk before the one at hand.
func (v *view) before(lsn record.LSN) bool {
	return lsn < v.lsns[0] && v.no > uint64(v.floor)/index.ChunkLen
}

// seek loads the first chunk from low to high that does not end before the
// record, or the last one.
func (v *view) seek(snap index.Snapshot, low, high uint64, lsn record.LSN) error {
	for low < high {
		middle := low + (high-low)/2
		if err := v.load(snap, middle); err != nil {
			return err
		}
		if v.behind(lsn) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low > high || v.no == low {
		return nil
	}
	return v.load(snap, low)
}

// load reads a chunk.
func (v *view) load(snap index.Snapshot, no uint64) error {
	key := index.ChunkKey
	if v.transient {
		key = index.TransientChunkKey
	}
	value, err := snap.Get(key(v.id, no))
	if err != nil {
		return fmt.Errorf("chunk %d of stream %x: %w", no, uint64(v.id), err)
	}
	if v.lsns, err = index.DecodeChunk(value, v.lsns[:0]); err == nil && len(v.lsns) == 0 {
		err = record.ErrCorrupt
	}
	if err != nil {
		v.lsns = v.lsns[:0]
		return fmt.Errorf("chunk %d of stream %x: %w", no, uint64(v.id), err)
	}
	v.no = no
	if v.compacted {
		return v.loadGone(snap)
	}
	return nil
}

// loadGone reads which messages of the chunk at hand were taken out.
func (v *view) loadGone(snap index.Snapshot) error {
	var c index.Chunk
	value, err := snap.Get(index.ChunkInfoKey(v.id, v.no))
	if err == nil {
		err = index.DecodeChunkInfo(value, &c)
	}
	if err != nil {
		return fmt.Errorf("chunk %d of stream %x: %w", v.no, uint64(v.id), err)
	}
	v.gone = c.Gone
	return nil
}

// findView reads a stream, nil when there is none of that id.
func findView(snap index.Snapshot, id record.StreamID) (*view, error) {
	for _, transient := range []bool{false, true} {
		key := index.StreamKey(id)
		if transient {
			key = index.TransientKey(id)
		}
		value, err := snap.Get(key)
		if errors.Is(err, index.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var info index.Stream
		if err := index.DecodeStream(value, &info); err != nil {
			return nil, err
		}
		return viewOf(snap, &info, transient)
	}
	return nil, nil //nolint:nilnil // no stream is no error
}
