package shard

import (
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// latencyBounds are the upper bounds of the commit latency's buckets, in seconds.
var latencyBounds = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
}

// Stats are a shard's counters since start.
type Stats struct {
	Batches, Records, Syncs uint64
	// Latency counts commits by how long write, sync and apply took.
	LatencyBounds []float64
	LatencyCounts []uint64 // one more than bounds
	LatencySum    float64
}

type stats struct {
	mu sync.Mutex
	Stats
}

func (s *stats) commit(b *record.Batch, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Batches++
	s.Records += uint64(b.Len())
	if b.Sync {
		s.Syncs++
	}
	if s.LatencyCounts == nil {
		s.LatencyCounts = make([]uint64, len(latencyBounds)+1)
	}
	i := 0
	for i < len(latencyBounds) && d.Seconds() > latencyBounds[i] {
		i++
	}
	s.LatencyCounts[i]++
	s.LatencySum += d.Seconds()
}

// Stats returns the counters.
func (s *Shard) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	st := s.stats.Stats
	st.LatencyBounds = latencyBounds
	st.LatencyCounts = append([]uint64(nil), st.LatencyCounts...)
	return st
}
