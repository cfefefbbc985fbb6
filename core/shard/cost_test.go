package shard

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/record"
)

// onDisk opens a shard with the limits of the default configuration in dir.
func onDisk(tb testing.TB, dir string) *Shard {
	tb.Helper()
	s, err := Open(Config{
		Identity: record.Identity{Cluster: [16]byte{1}}, Dir: dir + "/log", IndexDir: dir + "/index",
		SegmentBytes: 64 << 20, TailBytes: 64 << 20, CacheBytes: 32 << 20, BatchBytes: 4 << 20,
		AckDelay: 10 * time.Millisecond, SpillRefs: 1 << 17, CheckpointBytes: 256 << 20, CheckpointInterval: 30 * time.Second,
	}, Deps{FS: vfs.Default, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func heapInUse() uint64 {
	debug.FreeOSMemory() // for the resident set
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// resident is the memory of the process that is in use, 0 where that can't be told.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}

// idle makes n durable streams, starts again, and tells what they cost.
func idle(tb testing.TB, n int, filter bool) (perStream float64, rss int, start time.Duration) {
	tb.Helper()
	dir := tb.TempDir()
	s := onDisk(tb, dir)
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	for i := range uint64(n) {
		id := record.StreamID(i<<40 | i + 1)
		info := record.Stream{ID: id, Filter: filter, Namespace: "/", Name: fmt.Sprintf("devices/%08d/telemetry", i)}
		check(s.CreateStream(info, true))
		if filter {
			_, err := s.CreateCursor(id, i+1)
			check(err)
		}
	}
	check(s.Wait(tb.Context(), s.lastAppended()))
	check(s.Close())
	before, began := heapInUse(), time.Now()
	s = onDisk(tb, dir)
	start = time.Since(began)
	perStream = (float64(heapInUse()) - float64(before)) / float64(n)
	if s.Streams() != n {
		tb.Errorf("%d streams, want %d", s.Streams(), n)
	}
	rss = resident()
	check(s.Close())
	return perStream, rss, start
}

// TestIdleStreamsCost holds the memory of streams that nobody uses to its limit.
func TestIdleStreamsCost(t *testing.T) {
	if testing.Short() {
		t.Skip("makes many streams")
	}
	for _, filter := range []bool{false, true} {
		if per, _, _ := idle(t, 100_000, filter); per > 500 {
			t.Errorf("filter %v: %.0f bytes of heap for an idle stream, want below 500", filter, per)
		}
	}
}

// BenchmarkMillionIdleStreams starts a shard of a million streams.
func BenchmarkMillionIdleStreams(b *testing.B) {
	for _, filter := range []bool{false, true} {
		b.Run(fmt.Sprintf("filter=%v", filter), func(b *testing.B) {
			for b.Loop() {
				per, rss, start := idle(b, 1_000_000, filter)
				b.ReportMetric(per, "heap-B/stream")
				b.ReportMetric(float64(rss>>20), "rss-MiB")
				b.ReportMetric(start.Seconds(), "start-s")
			}
		})
	}
}

// BenchmarkBacklog publishes to a queue that nobody reads, starts again, and
// tells the rates of the first and the last tenth and the memory at each end.
// TIDEGATE_BACKLOG is the number of messages.
func BenchmarkBacklog(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("TIDEGATE_BACKLOG"))
	if err != nil {
		n = 200_000
	}
	for b.Loop() {
		dir := b.TempDir()
		s := onDisk(b, dir)
		if err := s.CreateStream(record.Stream{ID: testQueue, Namespace: "/", Name: "q"}, true); err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for tenth := range 10 {
			began := time.Now()
			publishTelemetry(b, s, rng, tenth*n/10, n/10)
			rate := float64(n/10) / time.Since(began).Seconds()
			if tenth == 0 || tenth == 9 {
				b.ReportMetric(rate, fmt.Sprintf("msgs/s-%d", tenth+1))
				b.ReportMetric(float64(heapInUse()>>20), fmt.Sprintf("heap-MiB-%d", tenth+1))
				b.ReportMetric(float64(resident()>>20), fmt.Sprintf("rss-MiB-%d", tenth+1))
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		s = onDisk(b, dir)
		b.ReportMetric(time.Since(began).Seconds(), "start-s")
		if q, err := s.QueueStats(testQueue); err != nil || q.Ready != uint64(n) {
			b.Errorf("%d ready, %v, want %d", q.Ready, err, n)
		}
		b.ReportMetric(float64(heapInUse()>>20), "heap-MiB-start")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		benchmarkRebuild(b, dir, n)
	}
}

// benchmarkRebuild starts once more with the index removed.
func benchmarkRebuild(b *testing.B, dir string, n int) {
	b.Helper()
	if err := os.RemoveAll(dir + "/index"); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	s := onDisk(b, dir)
	b.ReportMetric(time.Since(began).Seconds(), "rebuild-s")
	b.ReportMetric(float64(heapInUse()>>20), "heap-MiB-rebuild")
	b.ReportMetric(float64(resident()>>20), "rss-MiB-rebuild")
	if q, err := s.QueueStats(testQueue); err != nil || q.Ready != uint64(n) {
		b.Errorf("%d ready after the rebuild, %v, want %d", q.Ready, err, n)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// publishTelemetry publishes n messages of 256 B from 10,000 devices, and waits
// until they are durable.
func publishTelemetry(b *testing.B, s *Shard, rng *rand.Rand, first, n int) {
	b.Helper()
	m := record.Message{Namespace: []byte("/"), Streams: []record.StreamID{testQueue}}
	var last record.LSN
	for i := first; i < first+n; i++ {
		m.Payload = fmt.Appendf(m.Payload[:0], `{"device":%d,"seq":%d,"time":%d`, i%10_000, i/10_000, 1_700_000_000_000+i)
		for k := 0; len(m.Payload) < 235; k++ {
			m.Payload = fmt.Appendf(m.Payload, `,"v%d":%.6f`, k, rng.Float64()*100)
		}
		m.Payload = append(m.Payload, '}')
		var err error
		if last, err = s.Publish(&m, true, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Wait(b.Context(), last); err != nil {
		b.Fatal(err)
	}
}
