package shard

import (
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// Remains is what one stream of a queue, that of one priority, or a stream queue still
// has.
type Remains struct {
	Messages uint64 // those that are in flight among them
	Oldest   int64  // when the oldest was taken, unix milliseconds; 0 without any
}

// Remains looks up what a stream of a queue has; it may read the disk. ErrNotFound.
func (s *Shard) Remains(id record.StreamID) (Remains, error) {
	r, lsn, err := s.remains(id)
	if err != nil || lsn == 0 {
		return r, err
	}
	var h Hint
	var m record.Message
	r.Oldest, err = s.Record(lsn, &h, &m)
	return r, err
}

// remains counts, and finds the record of the oldest message; 0 without one.
func (s *Shard) remains(id record.StreamID) (r Remains, lsn record.LSN, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		st := s.streams[id]
		if st == nil || st.queue == nil && st.kept == nil {
			return r, 0, ErrNotFound
		}
		if lsn, err = st.oldest(); err == nil {
			if st.kept != nil {
				r.Messages = st.kept.stats().Ready
			} else {
				r.Messages = st.queue.Ready(st.refs.End()) + st.queue.Unsettled()
			}
			return r, lsn, nil
		}
		if err := s.bring(err, uint64(id), nil); err != nil {
			return r, 0, err
		}
	}
}

// oldest finds the record of the oldest message in memory, with an error for bring. Of
// a stream queue it passes over what compaction took out, as far as a chunk goes.
func (st *stream) oldest() (record.LSN, error) {
	o, end := st.refs.Low(), st.refs.End()
	if st.kept == nil {
		if o = max(o, st.self.cur.Floor()); o == end {
			return 0, nil
		}
		lsn, _, err := st.ref(o)
		return lsn, err
	}
	for end = min(o+index.ChunkLen, end); o < end; o++ {
		if lsn, ok, err := st.kept.get(o); ok || err != nil {
			return lsn, err
		}
	}
	return 0, nil
}
