package shard

import (
	"math"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// The log does not keep for ever what retention has said: truncate and compact
// records go with the segments that they were in. When an index is rebuilt, ENDS
// says where stream queues begin. Of a compacted stream, messages that were
// superseded and taken out may be there again where their segments still have
// them, until the next step of compaction; but not those of keys that were
// forgotten, since forget records stay for as long as older segments do.

// low is where ENDS says that a stream queue begins.
func (r *rebuild) low(st *stream) record.Offset {
	for _, e := range r.ends.of[st.id] {
		if e.since == st.since && e.from == 1 {
			return e.offset
		}
	}
	return 0
}

// hole notes that the offsets from one to another, which the stream is about to
// skip, have no messages.
func (k *keptStream) hole(from, to record.Offset) error {
	if k.st.refs.Low() == from {
		return k.leave(from, to)
	}
	inner := false
	for o := from; o < to; {
		no := chunkOf(o)
		next := min(to, record.Offset(no+1)*index.ChunkLen)
		if next-o == index.ChunkLen && next < to {
			if err := k.holeChunk(no); err != nil {
				return err
			}
			o, inner = next, true
			continue
		}
		c, err := k.change(no)
		if err != nil {
			return err
		}
		for c.Time = k.last; o < next; o++ {
			c.Gone.Set(o)
		}
	}
	if inner {
		return k.store()
	}
	return nil
}

// holeChunk notes that nothing of a whole chunk is there. It goes to the store at
// once, since there may be many.
func (k *keptStream) holeChunk(no uint64) error {
	s := k.st.s
	info := index.Chunk{Time: k.last}
	for i := range info.Gone {
		info.Gone[i] = math.MaxUint64
	}
	s.pending.Set(index.ChunkInfoKey(k.st.id, no), index.AppendChunkInfo(nil, &info))
	if s.pending.Size() < spillBytes {
		return nil
	}
	return k.store()
}

// store gives the store what is gathered. From then on it has nothing of an
// earlier stream of this id.
func (k *keptStream) store() error {
	s := k.st.s
	if err := s.store.Commit(&s.pending); err != nil {
		return err
	}
	s.pending.Reset()
	k.stored = true
	return nil
}

// leave has an empty stream go on at an offset: what was before is not known.
func (k *keptStream) leave(from, to record.Offset) error {
	s, id, first, end := k.st.s, k.st.id, chunkOf(from), chunkOf(to)
	if first == end {
		return nil
	}
	c, err := k.chunk(first) // the stream may have begun within it
	if err != nil {
		return err
	}
	k.bytes -= min(k.bytes, c.Bytes)
	k.forgetChunks(end)
	s.pending.DeleteRange(index.ChunkInfoKey(id, first), index.ChunkInfoKey(id, end))
	if k.compaction != nil {
		k.compaction.truncate(k.st, first, end)
	}
	return nil
}

// bytesBelow is how many bytes the chunks have that end at or below an offset.
func (k *keptStream) bytesBelow(low record.Offset) (n uint64, err error) {
	for no := chunkOf(k.st.refs.Low()); no < chunkOf(min(low, k.st.refs.End())); no++ {
		c, err := k.chunk(no)
		if err != nil {
			return 0, err
		}
		n += c.Bytes
	}
	return n, nil
}

// takeOutAgain takes all superseded messages below an offset out.
func (k *keptStream) takeOutAgain(below record.Offset) error {
	for no := range k.compaction.due {
		if err := k.takeOut(no, below); err != nil {
			return err
		}
	}
	return nil
}
