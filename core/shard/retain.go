package shard

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

const (
	// ageShare bounds what one step of retention by age removes: a stream's chunks
	// by this number, at least one. So a clock that jumps ahead empties no stream
	// at once.
	ageShare = 32
	// retainChunks bounds the chunks of a stream that one step looks at.
	retainChunks = 4096
	// tombstoneAge is how long a key's tombstone stays in a compacted stream.
	tombstoneAge = 24 * time.Hour
)

// Retain takes one step of retention: it has the log say which messages of
// stream queues are not kept any longer. now is the time that ages are counted
// to; lag is how long a superseded message stays in a compacted stream. The
// steps are to be some time apart. The result is the LSN to wait for, 0 when
// nothing is to go.
func (s *Shard) Retain(now time.Time, lag time.Duration) (record.LSN, error) {
	s.mu.Lock()
	ids := make([]record.StreamID, 0, len(s.keptStreams))
	for id := range s.keptStreams {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	slices.SortFunc(ids, cmp.Compare[record.StreamID])
	var last record.LSN
	var errs []error
	for _, id := range ids {
		lsn, err := s.retainStream(id, now, lag)
		last, errs = max(last, lsn), append(errs, err, s.sweep(id))
	}
	return last, errors.Join(errs...)
}

func (s *Shard) retainStream(id record.StreamID, now time.Time, lag time.Duration) (record.LSN, error) {
	truncated, err := s.decideKept(id, func(r *stepReads) (record.LSN, error) { return r.truncate(now) })
	if err != nil {
		return 0, err
	}
	below, compacted := s.settledBelow(id, now, lag)
	if !compacted {
		return truncated, nil
	}
	taken, err := s.decideKept(id, func(r *stepReads) (record.LSN, error) { return r.compact(now, below) })
	return max(truncated, taken), err
}

// truncate has the log say where the stream begins.
func (r *stepReads) truncate(now time.Time) (record.LSN, error) {
	k := r.k
	// While a step of compaction is on its way, chunks have more bytes than they
	// will have when the truncation is applied.
	if k.truncating || k.compaction != nil && k.compaction.running {
		return 0, nil
	}
	t, err := r.decide(now.UnixMilli())
	if err != nil || t.Low <= k.st.refs.Low() {
		return 0, err
	}
	lsn, err := k.st.s.Append(record.KindTruncate, record.AppendTruncate(nil, &t), nil)
	k.truncating = err == nil
	return lsn, err
}

// decide says where the stream begins from now on: which chunks go by the rules.
// The newest message stays, but when all groups have settled it.
func (r *stepReads) decide(now int64) (record.Truncate, error) {
	k := r.k
	refs := &k.st.refs
	t := record.Truncate{Stream: k.st.id, Low: refs.Low()}
	if refs.Low() == refs.End() || k.rules == (Retention{}) {
		return t, nil
	}
	settled := k.settledByAll()
	newest := chunkOf(refs.End() - 1)
	aged, err := r.aged(now, chunkOf(t.Low), newest)
	if err != nil {
		return t, err
	}
	for no := chunkOf(t.Low); no <= newest && no < chunkOf(refs.Low())+retainChunks; no++ {
		c, err := r.chunk(no)
		if err != nil {
			return t, err
		}
		old := no < aged
		next := record.Offset(no+1) * index.ChunkLen
		if no == newest {
			if old {
				t.Low = max(t.Low, refs.End()-1)
			}
			break
		}
		over := k.rules.MaxBytes > 0 && k.bytes-min(k.bytes, t.Bytes+c.Bytes) >= k.rules.MaxBytes
		if !over && next > settled && !old {
			break
		}
		t.Low, t.Bytes = next, t.Bytes+c.Bytes
	}
	if settled > t.Low && chunkOf(settled) == chunkOf(t.Low) {
		t.Low = settled
	}
	return t, nil
}

// aged is the chunk below which all have reached the greatest age, as far as one step
// goes. The clock may have been wrong when messages came. While it was ahead it told
// times that are still to come: such a chunk is older than those behind it, and goes
// with the first of them. While it was behind it told times before those of older
// chunks: such a chunk does not go before them.
func (r *stepReads) aged(now int64, first, newest uint64) (end uint64, err error) {
	k := r.k
	if end = first; k.rules.MaxAge == 0 {
		return end, nil
	}
	most := first + max(1, (newest-first+1)/ageShare)
	no, ahead := first, k.ahead
	for looked := 0; no <= newest && looked < retainChunks && end < most; looked++ {
		c, err := r.chunk(no)
		if err != nil {
			return first, err
		}
		at := ownTime(c)
		switch {
		case at <= now && at >= now-k.rules.MaxAge.Milliseconds():
			k.ahead = ahead
			return end, nil
		case at <= now:
			end = no + 1
		case no == first && ahead > first: // those up to there were looked at before
			no = ahead
			continue
		case end == first:
			ahead = no
		}
		no++
	}
	k.ahead = ahead
	return min(end, most), nil
}

// ownTime is the latest time that the clock told of a chunk's messages.
func ownTime(c *index.Chunk) int64 { return c.Time - int64(c.Back) }

// settledByAll is the offset below which every group has settled everything; 0
// when that does not matter.
func (k *keptStream) settledByAll() record.Offset {
	if !k.rules.UntilAcked || len(k.groups) == 0 {
		return 0
	}
	low := k.st.refs.End()
	for _, g := range k.groups {
		low = min(low, g.q.Floor())
	}
	return low
}
