package shard

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// Retention says how long a stream queue keeps its messages. Each rule that is
// set removes what it need not keep, whatever the others say; without any, all
// stays.
type Retention struct {
	// MaxAge is how old messages get; 0 is no limit. They go in chunks of 256, and
	// the newest message of a stream stays.
	MaxAge time.Duration
	// MaxBytes is how many bytes, of bodies and properties as published, stay at
	// least; 0 is no limit. At most one chunk more stays.
	MaxBytes uint64
	// UntilAcked lets messages go that all consumer groups have settled, if there
	// is a group.
	UntilAcked bool
}

// keptStream is what a stream queue has beside its references. Messages stay when
// they are consumed: what is below the stream's beginning is gone, all else is
// there, but for what compaction took out. mu of the shard guards it.
type keptStream struct {
	st    *stream
	rules Retention
	bytes uint64 // of the messages
	last  int64  // time of the newest message, unix milliseconds; never goes back
	// ahead is a chunk up to which all times were still to come when the stream was
	// last looked through, see aged.
	ahead uint64
	// chunks are what is known of chunks, those changed since the last spill and
	// some more. The others are in the store.
	chunks map[uint64]*chunk
	clean  int      // chunks that are in the store as they are here, and may be forgotten
	pinned []uint64 // chunks that stay in memory
	spills int      // that were stored
	// all are the groups and the readers, which keep their place in memory alone;
	// groups has the former by cursor.
	all    []*consumerGroup
	groups map[uint64]*consumerGroup
	// stored tells that the store knows the stream. Before that it may still have
	// what belongs to an earlier stream of this id.
	stored     bool
	truncating bool        // a truncate record is on its way through the log
	compaction *compaction // nil unless the stream is compacted
}

// chunk is what is known of a chunk of references.
type chunk struct {
	index.Chunk
	changed bool
	pinned  bool // stays in memory, see keptStream.pin
}

// maxCleanChunks bounds the chunks that are remembered without need.
const maxCleanChunks = 64

func newKept(st *stream) *keptStream {
	k := &keptStream{st: st, chunks: map[uint64]*chunk{}, groups: map[uint64]*consumerGroup{}}
	if st.info.Compacted {
		k.compaction = newCompaction()
	}
	return k
}

// Keep sets the retention of a stream queue, from now on.
func (s *Shard) Keep(id record.StreamID, rules Retention) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil {
		return fmt.Errorf("stream %x: %w", uint64(id), ErrNotFound)
	}
	st.kept.rules = rules
	return nil
}

// chunk returns what is known of a chunk.
func (k *keptStream) chunk(no uint64) (*chunk, error) {
	if c := k.chunks[no]; c != nil {
		return c, nil
	}
	c := new(chunk)
	if k.inStore(no) {
		var err error
		if c.Chunk, err = k.readChunk(no); err != nil {
			return nil, err
		}
	}
	k.remember(no, c)
	return c, nil
}

// known is chunk from memory: with an error for bring when it is not there.
func (k *keptStream) known(no uint64) (*chunk, error) {
	if k.chunks[no] == nil && k.inStore(no) {
		return nil, &away{st: k.st, no: no, info: true}
	}
	return k.chunk(no)
}

// inStore tells whether the store may know of a chunk that is not in memory.
func (k *keptStream) inStore(no uint64) bool {
	return k.stored && record.Offset(no)*index.ChunkLen < k.st.refs.End()
}

// readChunk reads what the store knows of a chunk. It needs no lock.
func (k *keptStream) readChunk(no uint64) (c index.Chunk, err error) {
	v, err := k.st.s.store.Get(index.ChunkInfoKey(k.st.id, no))
	if err == nil {
		err = index.DecodeChunkInfo(v, &c)
	}
	if err != nil && !errors.Is(err, index.ErrNotFound) {
		return c, fmt.Errorf("stream %x, chunk %d: %w", uint64(k.st.id), no, err)
	}
	return c, nil
}

// remember has a chunk at hand that is as the store has it.
func (k *keptStream) remember(no uint64, c *chunk) {
	if k.clean >= maxCleanChunks {
		k.forgetClean()
	}
	k.clean++
	k.chunks[no] = c
	k.st.s.warmed(k.st)
}

func (k *keptStream) forgetClean() {
	for no, c := range k.chunks {
		if !c.changed && !c.pinned {
			delete(k.chunks, no)
		}
	}
	k.clean = 0
}

// forgetChunks forgets those below a number.
func (k *keptStream) forgetChunks(end uint64) {
	for no, c := range k.chunks {
		if no < end {
			if !c.changed && !c.pinned {
				k.clean--
			}
			delete(k.chunks, no)
		}
	}
}

// change is chunk for who changes it.
func (k *keptStream) change(no uint64) (*chunk, error) {
	c, err := k.chunk(no)
	if err != nil {
		return nil, err
	}
	if !c.changed {
		c.changed = true
		if !c.pinned {
			k.clean--
		}
		k.st.s.changedStream(k.st)
	}
	return c, nil
}

// pin has a chunk be in memory until unpin: a record on its way through the log will
// change it, and who applies that is not to read the store.
func (k *keptStream) pin(no uint64, stored *index.Chunk) {
	c := k.chunks[no]
	switch {
	case c == nil && stored == nil || c != nil && c.pinned:
		return
	case c == nil:
		c = &chunk{Chunk: *stored}
		k.chunks[no] = c
	case !c.changed:
		k.clean--
	}
	c.pinned = true
	k.pinned = append(k.pinned, no)
}

// unpin takes all pins back.
func (k *keptStream) unpin() {
	for _, no := range k.pinned {
		if c := k.chunks[no]; c != nil && c.pinned {
			c.pinned = false
			if !c.changed {
				k.clean++
			}
		}
	}
	k.pinned = k.pinned[:0]
}

// chunkOf is the number of an offset's chunk.
func chunkOf(o record.Offset) uint64 { return uint64(o) / index.ChunkLen }

// messageSize is what retention by bytes counts of a message.
func messageSize(m *record.Message) uint64 { return uint64(m.PayloadSize() + m.PropertiesSize()) }

// appended notes a message that was just appended.
func (k *keptStream) appended(o record.Offset, m *record.Message, lsn record.LSN) error {
	c, err := k.change(chunkOf(o))
	if err != nil {
		return err
	}
	own := k.st.s.applyTime
	k.last = max(k.last, own)
	k.bytes += messageSize(m)
	c.Bytes += messageSize(m)
	if back := uint64(k.last - own); c.Time == 0 {
		c.Back = back
	} else {
		c.Back = min(c.Back+uint64(k.last-c.Time), back)
	}
	c.Time = k.last
	if k.compaction != nil {
		return k.keyed(o, m, lsn)
	}
	return nil
}

// get returns the record of an offset from memory; false when it was truncated or
// taken out. When it is not there the error says so: let bring bring it, and begin again.
func (k *keptStream) get(o record.Offset) (record.LSN, bool, error) {
	if o < k.st.refs.Low() {
		return 0, false, nil
	}
	c, err := k.known(chunkOf(o))
	if err != nil || c.Gone.Has(o) {
		return 0, false, err
	}
	return k.st.ref(o)
}

// applyTruncate moves the beginning of a stream.
func (s *Shard) applyTruncate(body []byte, lsn record.LSN) error {
	t, err := record.DecodeTruncate(body)
	if err != nil {
		return err
	}
	st := s.streams[t.Stream]
	if st == nil || st.kept == nil || lsn < st.since {
		return nil
	}
	k := st.kept
	k.truncating = false
	first := chunkOf(st.refs.Low())
	sure := s.sureBelow(t.Stream, t.Low, lsn)
	if s.rebuild != nil || sure < t.Low { // there may be less than there was
		t.Low = sure
		if t.Bytes, err = k.bytesBelow(t.Low); err != nil {
			return err
		}
	}
	st.refs.Trim(t.Low)
	k.bytes -= min(k.bytes, t.Bytes)
	s.changedStream(st)
	if end := chunkOf(st.refs.Low()); end > first {
		k.forgetChunks(end)
		s.pending.DeleteRange(index.ChunkInfoKey(st.id, first), index.ChunkInfoKey(st.id, end))
		if k.compaction != nil {
			k.compaction.truncate(st, first, end)
		}
	}
	for _, g := range k.all {
		g.skip()
	}
	return nil
}

// gather appends to the pending batch what the store does not have: called
// before the references are gathered.
func (k *keptStream) gather(value *[]byte) {
	s, id := k.st.s, k.st.id
	*value = index.AppendKept((*value)[:0], &index.Kept{Bytes: k.bytes, Time: k.last})
	s.pending.Set(index.KeptKey(id), *value)
	for no, c := range k.chunks {
		if !c.changed {
			continue
		}
		*value = index.AppendChunkInfo((*value)[:0], &c.Chunk)
		s.pending.Set(index.ChunkInfoKey(id, no), *value)
	}
	if k.compaction != nil {
		k.gatherCompacted(value)
	}
}

// spilled notes that what was gathered is in the store. The newest chunk is
// kept at hand: the next message changes it.
func (k *keptStream) spilled() {
	k.clean, k.stored = 0, true
	k.spills++
	for no, c := range k.chunks {
		switch c.changed = false; {
		case c.pinned:
			continue
		case no == chunkOf(k.st.refs.End()):
			k.clean++
			continue
		}
		delete(k.chunks, no)
	}
	if k.compaction != nil {
		k.compaction.spilled()
	}
}

// loadKept reads the state of a stream queue, or the name of one of its groups.
func (s *Shard) loadKept(key, v []byte) error {
	id, err := index.Uint64(key, 0)
	if err != nil {
		return err
	}
	cursor, err := index.Uint64(key, 1)
	if err != nil {
		return err
	}
	st := s.streams[record.StreamID(id)]
	if st == nil || st.kept == nil {
		// Dropped before it was spilled: the record of that is in the log behind, and
		// takes this out. See noOrphans.
		if s.orphans == nil {
			s.orphans = map[record.StreamID]struct{}{}
		}
		s.orphans[record.StreamID(id)] = struct{}{}
		return nil
	}
	if cursor != 0 {
		info, err := index.DecodeGroup(v)
		if err == nil {
			st.kept.addGroup(cursor, info, 0)
		}
		return err
	}
	var state index.Kept
	if err := index.DecodeKept(v, &state); err != nil {
		return err
	}
	st.kept.bytes, st.kept.last, st.kept.stored = state.Bytes, state.Time, true
	if st.kept.compaction != nil {
		return st.kept.loadDue()
	}
	return nil
}

// noOrphans asks, when the log is replayed, that every stream queue of which the
// checkpoint had a part alone was dropped behind it.
func (s *Shard) noOrphans() error {
	for id := range s.orphans {
		return fmt.Errorf("the index has a part of stream queue %x, which is not there: %w", uint64(id), record.ErrCorrupt)
	}
	return nil
}

// drop ends all consumers of a stream that is dropped.
func (k *keptStream) drop() {
	for _, g := range k.all {
		g.cancel()
	}
}

// stats are the sizes of a stream queue: all that it keeps is ready.
func (k *keptStream) stats() QueueStats {
	st := QueueStats{Ready: uint64(k.st.refs.End() - k.st.refs.Low())}
	for _, g := range k.all {
		st.Consumers += g.q.Consumers()
	}
	return st
}
