package shard

import (
	"math"
	"testing"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// weigh counts a queue's bytes from now on, or not any more.
func (s *Shard) weigh(t *testing.T, id record.StreamID, on bool) {
	t.Helper()
	must(t, s.Configure(id, QueueSettings{Bounds: queue.Bounds{Weighed: on, Bytes: math.MaxUint64}}))
}

// mustKnowSizes asks that each queue counts as many bytes as the messages have that
// wait in it, by their records.
func (s *Shard) mustKnowSizes(t *testing.T) {
	t.Helper()
	type message struct {
		stream record.StreamID
		lsn    record.LSN
	}
	var waiting []message
	counted := map[record.StreamID]uint64{}
	s.mu.Lock()
	for id, st := range s.streams {
		if st.queue == nil {
			continue
		}
		was := st.queue.CountsBytes()
		must(t, st.countBytes(true))
		counted[id] = st.queue.ReadyBytes()
		must(t, st.countBytes(was))
		for o := st.refs.Low(); o < st.refs.End(); o++ {
			if st.queue.Settled(o) || st.queue.InFlight(o) {
				continue
			}
			lsn, ok, err := st.refs.Get(o, st)
			if err != nil || !ok {
				t.Errorf("stream %d offset %d: %v, %v", id, o, ok, err)
			}
			waiting = append(waiting, message{id, lsn})
		}
	}
	s.mu.Unlock()
	sums := map[record.StreamID]uint64{}
	var h Hint
	var m record.Message
	for _, w := range waiting {
		_, err := s.Record(w.lsn, &h, &m)
		must(t, err)
		sums[w.stream] += uint64(len(m.Payload))
	}
	for id, n := range counted {
		if n != sums[id] {
			t.Errorf("stream %d: %d bytes are counted, %d wait", id, n, sums[id])
		}
	}
}
