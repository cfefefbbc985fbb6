package shard

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
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

// TestEndsAreSoughtWithoutTheLock reads references back for ENDS: nobody waits for
// the store meanwhile.
func TestEndsAreSoughtWithoutTheLock(t *testing.T) {
	s, _, store := backlogs(t, 3, 3000)
	must(t, s.Wait(t.Context(), s.FlushAcks()))
	must(t, s.awaitFlush())
	var held, calls atomic.Int64
	wait := func() {
		calls.Add(1)
		if s.mu.TryLock() {
			s.mu.Unlock()
			return
		}
		held.Add(1)
	}
	store.wait.Store(&wait)
	must(t, s.writeEnds([]record.LSN{s.log.Segments()[0].Base}))
	if n := held.Load(); n > 0 || calls.Load() == 0 {
		t.Errorf("%d of %d reads of the store hold mu, for %d streams and 1 gap", n, calls.Load(), s.Streams())
	}
}

// TestEndsLeaveNoTemporaryFile fails the sync of ENDS: what was written of it does
// not stay on a disk that may be full. One that a crash has left goes at the start.
func TestEndsLeaveNoTemporaryFile(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.publish(300, to(1))
	u.drain(1)
	u.rest(t)
	failed := 0
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, endsName) {
			failed++
			return errorfs.ErrInjected
		}
		return nil
	})
	u.fail.Store(&fail)
	u.upkeepAll(t)
	if _, err := u.fs.Stat("log/" + endsName + segment.TempSuffix); failed == 0 || !oserror.IsNotExist(err) {
		t.Errorf("after %d failed syncs: %v", failed, err)
	}
	u.fail.Store(nil)

	fs := vfs.NewMem()
	must(t, fs.MkdirAll("log", 0o700))
	f, err := fs.Create("log/"+endsName+segment.TempSuffix, vfs.WriteCategoryUnspecified)
	must(t, err)
	must(t, f.Close())
	s, err := openOn(t, fs, index.NewMap(), testConfig(64))
	must(t, err)
	defer s.Close()
	if _, err := fs.Stat("log/" + endsName + segment.TempSuffix); !oserror.IsNotExist(err) {
		t.Errorf("after a start: %v", err)
	}
}

// TestGapsBehindSalvagedLastSegment has nothing but a salvaged segment behind what
// is dropped: the gap is where the next record comes.
func TestGapsBehindSalvagedLastSegment(t *testing.T) {
	segments := []commitlog.Info{
		{Base: 1, Last: 10, Sealed: true},
		{Base: 11, Last: 20, Sealed: true},
		{Base: 21, Last: 30, Rewritten: true},
	}
	for _, c := range []struct{ gone, want []record.LSN }{
		{nil, []record.LSN{31}},
		{[]record.LSN{1}, []record.LSN{11, 31}},
		{[]record.LSN{1, 11}, []record.LSN{31}},
	} {
		if diff := cmp.Diff(c.want, gapsWithout(segments, c.gone)); diff != "" {
			t.Errorf("without %v (-want +got):\n%s", c.gone, diff)
		}
	}
	if got := gapsWithout(segments[:2], nil); len(got) > 0 {
		t.Errorf("of a whole log: %v", got)
	}
}
