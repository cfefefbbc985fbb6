package shard

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// TestSpillNeedsNoReadWithTheLock spills streams whose last chunk is only in the
// store: its beginning is read back, and nothing of it is lost.
func TestSpillNeedsNoReadWithTheLock(t *testing.T) {
	s, _, store := opened(t, testConfig(4))
	for range 12 { // each rest forgets the references
		must(t, s.put(t, 7))
		s.mu.Lock()
		for _, st := range s.streams {
			st.refs.Rest()
		}
		s.mu.Unlock()
	}
	must(t, s.Close())
	again, err := openOn(t, vfs.NewCrashableMem(), store.Map, testConfig(4))
	if err == nil { // a log that is shorter than the index is refused
		t.Error(again.Close())
	}
	v, err := store.Get(index.ChunkKey(testQueue, 0))
	must(t, err)
	lsns, err := index.DecodeChunk(v, nil)
	must(t, err)
	if len(lsns) != 84 {
		t.Errorf("%d references in the store, want 84", len(lsns))
	}
	for i := 1; i < len(lsns); i++ {
		if lsns[i] <= lsns[i-1] {
			t.Fatalf("reference %d is %d, behind %d", i, lsns[i], lsns[i-1])
		}
	}
}

// BenchmarkSpill gathers a spill of many streams with a message and a cursor
// each, and tells how long others wait for the state meanwhile.
func BenchmarkSpill(b *testing.B) {
	const n = 1 << 16
	s := onDisk(b, b.TempDir())
	defer func() { _ = s.Close() }()
	for i := range uint64(n) {
		id := record.StreamID(i + 1)
		if err := s.CreateStream(record.Stream{ID: id, Filter: true, Namespace: "/", Name: fmt.Sprintf("devices/%08d", i)}, true); err != nil {
			b.Fatal(err)
		}
		if _, err := s.CreateCursor(id, 1); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Await(s.lastAppended()); err != nil {
		b.Fatal(err)
	}
	var longest, whole time.Duration
	for b.Loop() {
		b.StopTimer()
		s.mu.Lock()
		for _, st := range s.streams {
			s.changedStream(st)
			for p := range st.places.each() {
				s.changedPlace(p)
			}
		}
		s.mu.Unlock()
		stop, done := make(chan struct{}), make(chan time.Duration)
		go func() { done <- s.longestWait(stop) }()
		b.StartTimer()
		began := time.Now()
		if _, err := s.prepare(began, true); err != nil {
			b.Fatal(err)
		}
		whole = max(whole, time.Since(began))
		close(stop)
		longest = max(longest, <-done)
	}
	b.ReportMetric(float64(longest.Microseconds())/1e3, "longest-wait-ms")
	b.ReportMetric(float64(whole.Microseconds())/1e3, "longest-spill-ms")
}

// longestWait takes the lock of the state again and again.
func (s *Shard) longestWait(stop <-chan struct{}) (longest time.Duration) {
	for {
		select {
		case <-stop:
			return longest
		default:
		}
		began := time.Now()
		s.mu.Lock()
		longest = max(longest, time.Since(began))
		s.mu.Unlock()
		runtime.Gosched()
	}
}

// TestSettledDuringSpill settles a message in the midst of a spill, of a stream
// that is gathered behind it and whose cursor had not moved: the store gets the
// cursor with the references.
func TestSettledDuringSpill(t *testing.T) {
	store := &slowStore{Map: index.NewMap()}
	s, err := openOn(t, vfs.NewMem(), store, testConfig(1<<20))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	for id := range record.StreamID(2) {
		must(t, s.CreateStream(record.Stream{ID: id + 1, Namespace: "/", Name: fmt.Sprint(id + 1)}, true))
	}
	put := func(id record.StreamID, spill int) {
		s.mu.Lock()
		s.cfg.SpillRefs, s.slice = spill, 1
		s.mu.Unlock()
		must(t, s.Wait(t.Context(), s.publishTo(t, id, 10)))
	}
	put(1, 1<<20)
	put(2, 1<<20)
	taken, _, _, err := s.Get(t.Context(), 2)
	must(t, err)
	put(1, 1) // the first spill: all that is
	put(2, 1)
	s.mu.Lock()
	for _, st := range s.streams {
		st.refs.Rest()
	}
	s.mu.Unlock()
	put(1, 1<<20) // behind references that are only in the store
	put(2, 1<<20)
	var calls atomic.Int64
	settle := func() {
		if calls.Add(1) == 1 {
			s.SettleTaken(2, []record.Offset{taken.Offset}, false)
		}
	}
	store.wait.Store(&settle)
	put(1, 1)
	put(1, 1<<20)
	if calls.Load() == 0 {
		t.Fatal("the spill read nothing back")
	}
	checkFloors(t, store.Map)
}
