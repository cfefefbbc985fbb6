package shard

import (
	"sort"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// StartKind is how a Start is meant.
type StartKind uint8

// Where reading a stream queue may begin.
const (
	StartNext   StartKind = iota // behind the newest message
	StartFirst                   // at the oldest message
	StartLast                    // at the newest message
	StartOffset                  // at an offset
	StartTime                    // at the first message that was taken at a time or later
)

// Start is where reading a stream queue begins. What lies before the stream's
// beginning means the beginning, what lies behind its end the end.
type Start struct {
	Kind   StartKind
	Offset record.Offset // of StartOffset
	Time   int64         // of StartTime, unix milliseconds
}

// resolve finds the offset that a start means.
func (s *Shard) resolve(id record.StreamID, start Start) (record.Offset, error) {
	if start.Kind == StartTime {
		return s.atTime(id, start.Time)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil {
		return 0, ErrNotFound
	}
	low, end := st.refs.Low(), st.refs.End()
	switch start.Kind {
	case StartFirst:
		return low, nil
	case StartLast:
		return max(low, end-min(end, 1)), nil
	case StartOffset:
		return min(max(start.Offset, low), end), nil
	default:
		return end, nil
	}
}

// timed is a reference of which the time is to be looked up.
type timed struct {
	offset record.Offset
	lsn    record.LSN
}

// atTime finds the first message that was taken at a time or later: the chunk
// by what the index knows of it, the message by the times in the log.
func (s *Shard) atTime(id record.StreamID, at int64) (record.Offset, error) {
	refs, end, err := s.chunkAt(id, at)
	if err != nil {
		return 0, err
	}
	var h Hint
	var m record.Message
	for _, ref := range refs {
		taken, err := s.Record(ref.lsn, &h, &m)
		if err != nil {
			return 0, err
		}
		if taken >= at {
			return ref.offset, nil
		}
	}
	return end, nil
}

// chunkAt returns the references of the first chunk whose newest message was
// taken at a time or later, and the offset behind it.
func (s *Shard) chunkAt(id record.StreamID, at int64) ([]timed, record.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		st := s.streams[id]
		if st == nil || st.kept == nil {
			return nil, 0, ErrNotFound
		}
		refs, end, err := st.kept.chunkAt(at)
		if err == nil {
			return refs, end, nil
		}
		if err := s.bring(err, uint64(id), nil); err != nil {
			return nil, 0, err
		}
	}
}

// chunkAt is Shard.chunkAt from memory: with an error as get.
func (k *keptStream) chunkAt(at int64) ([]timed, record.Offset, error) {
	low, end := k.st.refs.Low(), k.st.refs.End()
	if low == end {
		return nil, end, nil
	}
	first, n := chunkOf(low), chunkOf(end-1)-chunkOf(low)+1
	var failed error
	no := first + uint64(sort.Search(int(n), func(i int) bool {
		c, err := k.known(first + uint64(i))
		if err != nil {
			failed = err
			return true
		}
		return c.Time >= at
	}))
	if failed != nil || no == first+n {
		return nil, end, failed
	}
	var refs []timed
	next := min(record.Offset(no+1)*index.ChunkLen, end)
	for o := max(record.Offset(no)*index.ChunkLen, low); o < next; o++ {
		lsn, ok, err := k.get(o)
		if err != nil {
			return nil, 0, err
		}
		if ok {
			refs = append(refs, timed{o, lsn})
		}
	}
	return refs, next, nil
}
