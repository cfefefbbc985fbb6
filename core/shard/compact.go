package shard

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
)

const (
	// compactChunks bounds the chunks that one step of compaction changes.
	compactChunks = 2048
	// forgetTombstones bounds the tombstones that one step takes out.
	forgetTombstones = 1024
)

// mqttFormat is the format whose keys are topics, see core.FormatMQTT.
const mqttFormat record.Format = 2

// compaction is what a stream that is compacted by key has beside the rest. It
// knows the last message of each key: in the store, and here what has changed
// since the last spill.
type compaction struct {
	last map[string]*index.Last // nil: the key is forgotten
	// due are the chunks with messages that are superseded and still there.
	due map[uint64]struct{}
	// ends are where the stream ended at earlier steps, for the lag.
	ends []endAt
	// forgotten are tombstones taken out since the last spill.
	forgotten map[record.Offset]struct{}
	swept     record.Offset // where the stream began at the last sweep
	running   bool          // a record of a step is on its way through the log
	key       []byte
}

type endAt struct {
	at  int64 // unix milliseconds
	end record.Offset
}

func newCompaction() *compaction {
	return &compaction{
		last: map[string]*index.Last{}, due: map[uint64]struct{}{}, forgotten: map[record.Offset]struct{}{},
	}
}

// keyOf is what a message is about: its ordering key, else its routing key. A
// topic is the routing key that it is for AMQP.
func (c *compaction) keyOf(m *record.Message) []byte {
	switch {
	case len(m.OrderingKey) > 0:
		return m.OrderingKey
	case m.Format == mqttFormat:
		c.key = route.SwapTopic(c.key[:0], m.Key)
		return c.key
	}
	return m.Key
}

// keyed notes a message that was just appended as the last of its key, and the
// one before as superseded.
func (k *keptStream) keyed(o record.Offset, m *record.Message, lsn record.LSN) error {
	c, s := k.compaction, k.st.s
	key := c.keyOf(m)
	before, ok, err := k.lastOf(key)
	if err != nil {
		return err
	}
	if ok {
		if err := k.supersede(&before); err != nil {
			return err
		}
	}
	l := &index.Last{Offset: o, LSN: lsn, Size: messageSize(m), Tombstone: m.PayloadSize() == 0}
	if l.Tombstone {
		s.pending.Set(index.TombstoneKey(k.st.id, o), index.AppendTombstone(nil, s.applyTime, key))
	}
	if known := c.last[string(key)]; known != nil {
		*known = *l
		return nil
	}
	c.last[string(key)] = l
	return nil
}

func (k *keptStream) supersede(l *index.Last) error {
	s, no := k.st.s, chunkOf(l.Offset)
	info, err := k.change(no)
	if err != nil {
		return err
	}
	s.checkpoint.went = true
	info.Superseded.Set(l.Offset)
	info.Garbage += l.Size
	if _, due := k.compaction.due[no]; !due {
		k.compaction.due[no] = struct{}{}
		s.pending.Set(index.DueKey(k.st.id, no), nil)
	}
	if l.Tombstone {
		s.pending.Delete(index.TombstoneKey(k.st.id, l.Offset))
	}
	return nil
}

// lastOf returns the last message of a key, if the stream still has it.
func (k *keptStream) lastOf(key []byte) (index.Last, bool, error) {
	var l index.Last
	if known, ok := k.compaction.last[string(key)]; ok {
		if known == nil {
			return l, false, nil
		}
		return *known, known.Offset >= k.st.refs.Low(), nil
	}
	if !k.stored {
		return l, false, nil
	}
	v, err := k.st.s.store.Get(index.LastKey(k.st.id, key))
	if errors.Is(err, index.ErrNotFound) {
		return l, false, nil
	}
	if err == nil {
		err = index.DecodeLast(v, &l)
	}
	if err != nil {
		return l, false, fmt.Errorf("stream %x, last message of a key: %w", uint64(k.st.id), err)
	}
	return l, l.Offset >= k.st.refs.Low(), nil
}

// compact has the log say which superseded messages and which tombstones leave
// the stream.
func (r *stepReads) compact(now time.Time, below record.Offset) (record.LSN, error) {
	c, s := r.k.compaction, r.k.st.s
	if c.running {
		return 0, nil
	}
	r.k.unpin()
	due, all, err := r.superseded(below)
	if err != nil {
		return 0, err
	}
	f := record.Forget{}
	if all { // the values that a tombstone ended go before it
		if f, err = r.oldTombstones(now, below); err != nil {
			return 0, err
		}
	}
	touched := c.dueIn(due.First, due.End)
	for _, t := range f.Tombstones {
		touched = append(touched, chunkOf(t.Offset))
	}
	slices.Sort(touched)
	touched = slices.Compact(touched)
	if err := r.all(touched); err != nil {
		return 0, err
	}
	var last record.LSN
	if due.End > due.First {
		if last, err = s.Append(record.KindCompact, record.AppendCompact(nil, &due), nil); err != nil {
			return 0, err
		}
	}
	if len(f.Tombstones) > 0 {
		if last, err = s.Append(record.KindForget, record.AppendForget(nil, &f), nil); err != nil {
			return 0, err
		}
	}
	if c.running = last != 0; c.running {
		for _, no := range touched {
			r.k.pin(no, r.chunks[no])
		}
	}
	return last, nil
}

// settledBelow is compaction.settledBelow of a stream, as it ends now; false when it is
// not compacted.
func (s *Shard) settledBelow(id record.StreamID, now time.Time, lag time.Duration) (record.Offset, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil || st.kept.compaction == nil {
		return 0, false
	}
	return st.kept.compaction.settledBelow(now.UnixMilli(), lag.Milliseconds(), st.refs.End()), true
}

// settledBelow is where the stream ended a lag ago: what lies below may go when
// it is superseded. A reader that is no further behind sees every message.
func (c *compaction) settledBelow(now, lag int64, end record.Offset) record.Offset {
	c.ends = append(c.ends, endAt{now, end})
	n := 0
	for n+1 < len(c.ends) && c.ends[n+1].at <= now-lag {
		n++
	}
	c.ends = slices.Delete(c.ends, 0, n)
	if c.ends[0].at > now-lag {
		return 0
	}
	return c.ends[0].end
}

// superseded finds the chunks that have something to take out; all of them, or as
// many as one step may take.
func (r *stepReads) superseded(below record.Offset) (out record.Compact, all bool, err error) {
	out = record.Compact{Stream: r.k.st.id, Below: below}
	due := r.k.compaction.dueIn(0, chunkOf(below+index.ChunkLen-1))
	some := due[:min(len(due), compactChunks)]
	if err := r.all(some); err != nil {
		return out, false, err
	}
	for _, no := range some {
		info, err := r.chunk(no)
		if err != nil {
			return out, false, err
		}
		if leaving(info, no, below) == (index.Bits{}) {
			continue
		}
		if out.End == 0 {
			out.First = no
		}
		out.End = no + 1
	}
	return out, len(due) <= compactChunks, nil
}

// dueIn returns the chunks of a range that have superseded messages, in order.
func (c *compaction) dueIn(first, end uint64) (due []uint64) {
	for no := range c.due {
		if no >= first && no < end {
			due = append(due, no)
		}
	}
	slices.Sort(due)
	return due
}

// leaving are the superseded messages of a chunk that lie below an offset.
func leaving(info *index.Chunk, no uint64, below record.Offset) index.Bits {
	out := info.Superseded
	first := record.Offset(no) * index.ChunkLen
	for i := range out {
		word := first + record.Offset(i)*64
		switch {
		case word+64 <= below:
		case word >= below:
			out[i] = 0
		default:
			out[i] &= 1<<(below-word) - 1
		}
	}
	return out
}

// applyCompact takes superseded messages out of a stream. Readers pass over
// them, offsets stay as they are.
func (s *Shard) applyCompact(body []byte, lsn record.LSN) error {
	r, err := record.DecodeCompact(body)
	if err != nil {
		return err
	}
	st := s.streams[r.Stream]
	if st == nil || st.kept == nil || st.kept.compaction == nil || lsn < st.since {
		return nil
	}
	k := st.kept
	k.compaction.running = false
	r.Below = s.sureBelow(r.Stream, r.Below, lsn)
	for no := range k.compaction.due {
		if no < r.First || no >= r.End {
			continue
		}
		if err := k.takeOut(no, r.Below); err != nil {
			return err
		}
	}
	return nil
}

func (k *keptStream) takeOut(no uint64, below record.Offset) error {
	info, err := k.change(no)
	if err != nil {
		return err
	}
	out := leaving(&info.Chunk, no, below)
	for i := range out {
		info.Gone[i] |= out[i]
		info.Superseded[i] &^= out[i]
	}
	if info.Superseded != (index.Bits{}) {
		return nil
	}
	k.bytes -= min(k.bytes, info.Garbage)
	info.Bytes -= min(info.Bytes, info.Garbage)
	info.Garbage = 0
	delete(k.compaction.due, no)
	k.st.s.pending.Delete(index.DueKey(k.st.id, no))
	return nil
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// oldTombstones finds tombstones that have stayed for long enough. It looks in
// the store alone, which has them all at the next checkpoint.
func (r *stepReads) oldTombstones(now time.Time, below record.Offset) (record.Forget, error) {
	k := r.k
	f := record.Forget{Stream: k.st.id}
	if !k.stored {
		return f, nil
	}
	cutoff := now.Add(-tombstoneAge).UnixMilli()
	scan := k.tombstoneScan(now.UnixMilli(), cutoff, below)
	if r.old == nil {
		return f, &missing{old: scan}
	}
	old := 0 // so many of them have stayed for long enough
	for _, t := range r.old {
		if f.Tombstones = append(f.Tombstones, t.Tombstone); !scan.wrong(t.at) {
			old = len(f.Tombstones)
		}
	}
	return f, r.onlyOld(&f, old, cutoff)
}

// onlyOld leaves the first tombstones, which are old, and those behind them whose
// own time is wrong and whose chunk is old.
func (r *stepReads) onlyOld(f *record.Forget, old int, cutoff int64) error {
	for ; old < len(f.Tombstones); old++ {
		c, err := r.chunk(chunkOf(f.Tombstones[old].Offset))
		if err != nil {
			return err
		}
		if ownTime(c) > cutoff {
			break
		}
	}
	f.Tombstones = f.Tombstones[:old]
	return nil
}

// applyForget takes tombstones out of a stream, unless their keys have values again.
func (s *Shard) applyForget(body []byte, lsn record.LSN) error {
	f, err := record.DecodeForget(body)
	if err != nil {
		return err
	}
	st := s.streams[f.Stream]
	if st == nil || st.kept == nil || st.kept.compaction == nil || lsn < st.since {
		return nil
	}
	k := st.kept
	k.compaction.running = false
	if s.otherCount(lsn) {
		return nil // what it forgot may be there again, and is forgotten again
	}
	for _, t := range f.Tombstones {
		if s.isSure(st.id, t.Offset) { // else another may have that offset now
			k.compaction.forgotten[t.Offset] = struct{}{}
			s.pending.Delete(index.TombstoneKey(st.id, t.Offset))
		}
		l, ok, err := k.lastOf([]byte(t.Key))
		if err != nil {
			return err
		}
		if !ok || l.Offset > t.Offset || !s.isSure(st.id, l.Offset) {
			continue
		}
		// In a rebuild the tombstone may be gone, and one that it ended be there.
		info, err := k.change(chunkOf(l.Offset))
		if err != nil {
			return err
		}
		info.Gone.Set(l.Offset)
		info.Bytes -= min(info.Bytes, l.Size)
		k.bytes -= min(k.bytes, l.Size)
		k.compaction.last[t.Key] = nil
	}
	if s.rebuild != nil && s.rebuild.gaps && len(f.Tombstones) > 0 {
		return k.takeOutAgain(s.sureBelow(st.id, f.Tombstones[len(f.Tombstones)-1].Offset, lsn))
	}
	return nil
}

// truncate forgets what is known of chunks that left the stream whole.
func (c *compaction) truncate(st *stream, first, end uint64) {
	for no := range c.due {
		if no < end {
			delete(c.due, no)
		}
	}
	p := &st.s.pending
	p.DeleteRange(index.DueKey(st.id, first), index.DueKey(st.id, end))
	p.DeleteRange(index.TombstoneKey(st.id, 0), index.TombstoneKey(st.id, st.refs.Low()))
}

// gatherCompacted appends the last messages of keys.
func (k *keptStream) gatherCompacted(value *[]byte) {
	s, id := k.st.s, k.st.id
	for key, l := range k.compaction.last {
		if l == nil {
			s.pending.Delete(index.LastKey(id, key))
			continue
		}
		*value = index.AppendLast((*value)[:0], l)
		s.pending.Set(index.LastKey(id, key), *value)
	}
}

// spilled notes that what was gathered is in the store.
func (c *compaction) spilled() {
	clear(c.last)
	clear(c.forgotten)
}

// loadDue reads which chunks hold superseded messages.
func (k *keptStream) loadDue() error {
	return k.st.s.store.Scan(index.DuesKey(k.st.id), func(key, _ []byte) error {
		no, err := index.PartNumber(key)
		k.compaction.due[no] = struct{}{}
		return err
	})
}
