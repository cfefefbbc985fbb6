package shard

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// TestUpkeepWaitsForPublication drains a queue whose acks are published by turns
// and not: nothing is dropped or rewritten whose acks are not.
func TestUpkeepWaitsForPublication(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes, cfg.TailBytes, cfg.CacheBytes = smallSegment, 1, 1, 1
	cfg.Upkeep = UpkeepConfig{RewritePercent: 30, Compress: true}
	fs, offsets := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, offsets)
	t.Cleanup(func() { _ = s.Close() })
	u := &upkept{Shard: s, t: t, fs: fs, rng: rand.New(rand.NewPCG(1, 2))}
	u.queue(1, true)
	freed := func() uint64 {
		st := u.UpkeepStats()
		return st.Dropped + st.Rewritten
	}
	round := func() {
		u.publish(300, to(1))
		u.drain(1)
		u.settle()
	}
	round()
	if n := freed(); n != 0 {
		t.Fatalf("freed %d bytes before anything was published", n)
	}
	offsets.publish(t, s)
	u.upkeepAll(t) // without a further checkpoint
	first := freed()
	if first == 0 {
		t.Fatal("nothing was freed after all was published")
	}
	last := s.Committed()
	round()
	for _, i := range s.log.Segments() {
		if i.Rewritten && i.Last > last {
			t.Errorf("records up to %d were rewritten, published are those up to %d", i.Last, last)
		}
	}
	held := u.Bytes()
	s.PublishedUpTo(math.MaxUint64)
	u.upkeepAll(t)
	if u.Bytes() >= held {
		t.Errorf("%d bytes are left of %d though publication is not waited for", u.Bytes(), held)
	}
}

// TestMovedRestsOnASyncedRecord takes a cursor that moved while the newest record is
// one that a crash may lose: what is published must count after the crash.
func TestMovedRestsOnASyncedRecord(t *testing.T) {
	s, fs, _ := opened(t, testConfig(100))
	must(t, s.put(t, 10))
	for range 3 {
		ref, _, ok, err := s.Get(t.Context(), testQueue)
		if err != nil || !ok {
			t.Fatalf("get: %v, %v", ok, err)
		}
		s.SettleTaken(testQueue, []record.Offset{ref.Offset}, false)
	}
	must(t, s.Await(s.FlushAcks()))
	m := record.Message{Namespace: []byte("/"), Payload: []byte("lost"), Streams: []record.StreamID{testQueue}}
	last, err := s.Publish(&m, false, nil)
	must(t, err)
	must(t, s.Await(last))
	states, lsn, _ := s.Moved(nil, 10)
	if len(states) != 1 || states[0].Floor != 3 || lsn >= last {
		t.Fatalf("moved: %+v as of record %d, want a floor of 3 before record %d", states, lsn, last)
	}
	again, err := openOn(t, fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), testConfig(100))
	must(t, err)
	if lsn > again.Committed() {
		t.Errorf("as of record %d, after a crash the last is %d", lsn, again.Committed())
	}
	must(t, again.Close())
}
