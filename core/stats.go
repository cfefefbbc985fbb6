package core

import (
	"sync/atomic"

	"github.com/tidegate/tidegate/core/shard"
)

// counters are what the broker counts itself.
type counters struct {
	delivered, settled, dropped                         atomic.Uint64
	blocked, shed, missing, refused, deadLetters, wills atomic.Uint64
	held, fired, cancelled                              atomic.Uint64
	consumers                                           atomic.Int64
	// published and unroutable are those of namespaces that are deleted.
	published, unroutable atomic.Uint64
}

// keep keeps what a namespace that is deleted has counted.
func (c *counters) keep(ns *namespace) {
	if ns != nil {
		sum := ns.traffic()
		c.published.Add(sum.Published)
		c.unroutable.Add(sum.Unroutable)
	}
}

// Stats are counters since start and present sizes of the broker.
type Stats struct {
	Published, Delivered, Settled, Unroutable uint64
	// Dropped counts deliveries of QoS 0 to readers that were too slow.
	Dropped uint64
	// Missing counts messages that were due and that the log has not got: their
	// loss was accepted. What refers to them is settled.
	Missing uint64
	// Expired counts messages of queues that have ended at the end of their time
	// to live.
	Expired uint64
	// Overflowed counts messages that were dropped because their queue was too
	// long.
	Overflowed uint64
	// DeadLetters counts messages that queues gave up and that went to other queues.
	DeadLetters uint64
	// Wills counts wills that were published. WillsKept are those of connected clients
	// and those that wait.
	Wills     uint64
	WillsKept int
	// Scheduled counts messages that were held until a time, Due those that were
	// delivered then, and Cancelled those that were given up before.
	Scheduled, Due, Cancelled uint64
	// Refused counts publishes that a queue did not take because it is full.
	Refused uint64
	// Blocked counts publishes that were refused because disk or memory was low;
	// a publisher that tries again is counted again. Shed counts those of QoS 0
	// that were not stored for that reason.
	Blocked, Shed uint64
	// Pressure are the present alarms; DiskWarning tells that the disk fills up.
	Pressure    Pressure
	DiskWarning bool
	// DiskFree and DiskTotal are bytes of the disk that holds the log, MemoryInUse
	// bytes of the process, as of the last look; 0 when they are not known.
	DiskFree, DiskTotal, MemoryInUse uint64
	// DiskMark is how many bytes have to be free for publishers to go on, MemoryMark how
	// many the process may have; 0 when that is not watched.
	DiskMark, MemoryMark uint64

	Batches, BatchRecords, Syncs uint64
	LogBytes                     uint64
	Upkeep                       UpkeepStats
	Streams, Sessions, Consumers int
	CommitLatency                Histogram
}

// Histogram counts durations in buckets by upper bound in seconds.
type Histogram struct {
	Bounds []float64
	Counts []uint64 // one more than Bounds: the last is above all bounds
	Sum    float64
}

// UpkeepStats tell of the logs' segments, and of what was done to them since
// start.
type UpkeepStats struct {
	// Segments that there are, and the bytes of their records decoded.
	Segments int
	Raw      uint64
	// Dropped are bytes of segments given up whole, Rewritten those of segments
	// that others took the place of, and Written those of these others.
	Dropped, Rewritten, Written uint64
	// Damaged are segments that could not be read for a rewrite.
	Damaged int
}

func (u *UpkeepStats) add(s shard.UpkeepStats) {
	u.Segments += s.Segments
	u.Raw += s.Raw
	u.Dropped += s.Dropped
	u.Rewritten += s.Rewritten
	u.Written += s.Written
	u.Damaged += s.Damaged
}

// Stats returns counters and sizes.
func (b *Broker) Stats() Stats {
	c := &b.counters
	st := Stats{
		Published: c.published.Load(), Delivered: c.delivered.Load(), Settled: c.settled.Load(),
		Unroutable: c.unroutable.Load(), Dropped: c.dropped.Load(),
		Consumers: int(c.consumers.Load()), Sessions: b.sessions.count(),
		Blocked: c.blocked.Load(), Shed: c.shed.Load(), Missing: c.missing.Load(), Refused: c.refused.Load(),
		Scheduled: c.held.Load(), Due: c.fired.Load(), Cancelled: c.cancelled.Load(),
		DeadLetters: c.deadLetters.Load(), Wills: c.wills.Load(), WillsKept: b.wills.count(), Pressure: b.Pressure(),
	}
	for _, ns := range b.allNamespaces() {
		sum := ns.traffic()
		st.Published += sum.Published
		st.Unroutable += sum.Unroutable
	}
	seen := b.pressure.looked.Load()
	st.DiskFree, st.DiskTotal, st.MemoryInUse, st.DiskWarning = seen.free, seen.total, seen.memory, seen.warned
	st.DiskMark, st.MemoryMark = seen.diskMark, seen.memoryMark
	for _, s := range b.shards {
		ss := s.Stats()
		st.Batches += ss.Batches
		st.BatchRecords += ss.Records
		st.Syncs += ss.Syncs
		st.LogBytes += s.Bytes()
		st.Upkeep.add(s.UpkeepStats())
		st.Streams += s.Streams()
		st.Expired += s.Expired()
		st.Overflowed += s.Overflowed()
		h := &st.CommitLatency
		h.Bounds = ss.LatencyBounds
		h.Sum += ss.LatencySum
		for i, n := range ss.LatencyCounts {
			if i == len(h.Counts) {
				h.Counts = append(h.Counts, 0)
			}
			h.Counts[i] += n
		}
	}
	return st
}
