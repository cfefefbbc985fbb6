package shard

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// TestCrashBeforeRewriteKeepsEnds rewrites the oldest segment, and then has the
// power go when ENDS is written for a rewrite of it and the next one, which does
// not come about: what original segments begin with behind the first is still told.
func TestCrashBeforeRewriteKeepsEnds(t *testing.T) {
	cfg := testConfig(100)
	cfg.CheckpointBytes = 1
	s, fs, _ := opened(t, cfg)
	for range 2000 {
		s.publishTo(t, testQueue, 100)
	}
	must(t, s.Await(s.lastAppended()))
	s.rest(t)
	old := s.log.Segments()
	for last := record.LSN(0); last < old[0].Last; { // all but the first message
		ref, _, ok, err := s.Get(t.Context(), testQueue)
		if err != nil || !ok {
			t.Fatalf("get: %v, %v", ok, err)
		}
		last = ref.LSN
		if ref.Offset > 0 {
			s.SettleTaken(testQueue, []record.Offset{ref.Offset}, false)
		}
	}
	s.rest(t)
	old = s.log.Segments()
	offsets := published{}
	offsets.publish(t, s)
	_, err := s.count(t.Context(), old)
	must(t, err)
	must(t, s.rewrite(t.Context(), plan{rewrite: old[:1], oldest: true}))
	must(t, s.writeEnds([]record.LSN{old[0].Base, old[1].Base}))
	want := s.owed(t)
	again := openPublished(t, fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), cfg, offsets)
	if diff := cmp.Diff(want, again.owed(t)); diff != "" {
		t.Errorf("state before and after the index was lost (-before +after):\n%s", diff)
	}
	must(t, again.Close())
}
