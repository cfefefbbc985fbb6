package shard

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// rotAt damages the segment in which the record lies and gives it up.
func rotAt(t *testing.T, fs *vfs.MemFS, s *Shard, cfg Config, lsn record.LSN) {
	t.Helper()
	segs := s.log.Segments()
	must(t, s.Close())
	for _, g := range segs {
		if g.Base <= lsn && lsn <= g.Last {
			damage(t, fs, fmt.Sprintf("log/%020d.seg", g.Base), g.Bytes/2)
		}
	}
	if acceptAll(t, fs, cfg, 0) == 0 {
		t.Fatal("nothing was damaged")
	}
}

// Rot hits messages that retention has removed; the loss is accepted and replayed.
// All that the stream still had is sound in the log.
func TestTruncationBehindALossTakesNothingElse(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs := vfs.NewCrashableMem()
	s := truncated(t, fs, cfg)
	want := readKept(t, s, 1, 0)
	rotAt(t, fs, s, cfg, 200)
	again := openPublished(t, fs, index.NewMap(), cfg, published{})
	defer again.Close()
	got := readKept(t, again, 1, 0)
	if len(want) != 100 || len(got) < len(want) || got[len(got)-len(want)] != want[0] {
		t.Errorf("the stream had %d messages from %s, none of which was damaged; it has %d, from %s",
			len(want), want[0], len(got), got[0])
	}
}

// Rot hits messages of a stream before a group began in it, at an offset. The loss
// is accepted and replayed. What the group had before it is sound in the log.
func TestGroupBehindALossSkipsNothing(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs := vfs.NewCrashableMem()
	s := openPublished(t, fs, index.NewMap(), cfg, published{})
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
	putNumbered(t, s, 1, 0, 600)
	c, err := s.ConsumeKept(t.Context(), 1, &Reading{
		Group: 7, GroupName: "g", Start: Start{Kind: StartOffset, Offset: 500}, Notify: func() {}, Cancelled: func() {},
	})
	must(t, err)
	c.Remove()
	rotAt(t, fs, s, cfg, 200)
	again := openPublished(t, fs, index.NewMap(), cfg, published{})
	defer again.Close()
	got := readKept(t, again, 1, 7)
	if len(got) < 100 || got[0] > "000500" {
		t.Errorf("the group was to read 000500 to 000599, all of it sound, and gets %d from %v", len(got), got[:min(1, len(got))])
	}
}

// Rot hits an unrelated part of a compacted stream before a tombstone that was
// forgotten while its key had a value again.
func TestForgetBehindALossTakesNoLaterValue(t *testing.T) {
	u := newUpkept(t, func(cfg *Config) { cfg.SegmentBytes = 4 << 10 })
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}, true))
	for i := range 200 {
		u.keep(fmt.Sprint("other", i), false, 1)
	}
	u.keep("back", true, 1) // the tombstone
	u.rest(t)
	body := record.AppendForget(nil, &record.Forget{
		Stream: 1, Tombstones: []record.Tombstone{{Offset: 200, Key: "back"}},
	})
	u.keep("back", false, 1) // a value, between the decision and its record
	lsn, err := u.Append(record.KindForget, body, nil)
	must(t, err)
	must(t, u.Wait(t.Context(), lsn))
	u.mu.Lock()
	_, there, err := u.streams[1].kept.lastOf([]byte("back"))
	u.mu.Unlock()
	if must(t, err); !there {
		t.Fatal("the value went with the tombstone before it")
	}
	rotAt(t, u.fs, u.Shard, u.cfg, 50)
	again := openPublished(t, u.fs, index.NewMap(), u.cfg, published{})
	defer again.Close()
	again.mu.Lock()
	defer again.mu.Unlock()
	l, there, err := again.streams[1].kept.lastOf([]byte("back"))
	must(t, err)
	if !there {
		t.Errorf("the key has no value any more: %+v", l)
	}
}

// truncated opens a shard with a stream queue of 612 messages that begins at 512.
func truncated(t *testing.T, fs vfs.FS, cfg Config) *Shard {
	t.Helper()
	s := openPublished(t, fs, index.NewMap(), cfg, published{})
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
	putNumbered(t, s, 1, 0, 612)
	must(t, s.Keep(1, Retention{MaxBytes: 1}))
	lsn, err := s.Retain(time.Now(), 0)
	must(t, err)
	must(t, s.Wait(t.Context(), lsn))
	return s
}

// ENDS tells where a stream began before rot hit what was gone. It is counted in
// offsets of before the loss.
func TestEndsBehindALossTakeNothingElse(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs := vfs.NewCrashableMem()
	s := truncated(t, fs, cfg)
	must(t, s.writeEnds(nil))
	rotAt(t, fs, s, cfg, 200)
	again := openPublished(t, fs, index.NewMap(), cfg, published{})
	defer again.Close()
	got := readKept(t, again, 1, 0)
	wantFrom(t, got[max(0, len(got)-100):], 512, 612)
}

// A truncation stays in the log behind a loss, and the count that was made then stands
// in rewritten segments: when the index is lost once more, the truncation is one of
// another count.
func TestTruncationOfAnotherCountTakesNothing(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	fs := vfs.NewCrashableMem()
	rotAt(t, fs, truncated(t, fs, cfg), cfg, 200)
	again := openPublished(t, fs, index.NewMap(), cfg, published{})
	upkeepDone(t, again)
	if n := again.UpkeepStats().Rewritten; n == 0 {
		t.Fatal("nothing was rewritten")
	}
	must(t, again.Close())
	again = openPublished(t, fs, index.NewMap(), cfg, published{})
	defer again.Close()
	got := readKept(t, again, 1, 0)
	wantFrom(t, got[max(0, len(got)-100):], 512, 612)
}

// A group is set to an offset behind rot: it reads on from there at the latest.
func TestSeekBehindALossSkipsNothing(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs := vfs.NewCrashableMem()
	s := openPublished(t, fs, index.NewMap(), cfg, published{})
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
	putNumbered(t, s, 1, 0, 10)
	wantFrom(t, readKept(t, s, 1, 7), 0, 10)
	putNumbered(t, s, 1, 10, 600)
	must(t, s.SeekGroup(t.Context(), 1, 7, Start{Kind: StartOffset, Offset: 500}))
	rotAt(t, fs, s, cfg, 200)
	again := openPublished(t, fs, index.NewMap(), cfg, published{})
	defer again.Close()
	got := readKept(t, again, 1, 7)
	wantFrom(t, got[max(0, len(got)-100):], 500, 600)
}

// Compaction behind a loss takes out nothing that a reader within the lag was to see.
func TestCompactionBehindALossKeepsTheLag(t *testing.T) {
	u := newUpkept(t, func(cfg *Config) { cfg.SegmentBytes = 4 << 10 })
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}, true))
	for i := range 200 {
		u.keep(fmt.Sprint("other", i), false, 1)
	}
	u.keep("k", false, 1) // offset 200: within the lag
	u.keep("k", false, 1)
	body := record.AppendCompact(nil, &record.Compact{Stream: 1, First: 0, End: 1, Below: 200})
	lsn, err := u.Append(record.KindCompact, body, nil)
	must(t, err)
	must(t, u.Wait(t.Context(), lsn))
	rotAt(t, u.fs, u.Shard, u.cfg, 50)
	again := openPublished(t, u.fs, index.NewMap(), u.cfg, published{})
	defer again.Close()
	again.mu.Lock()
	defer again.mu.Unlock()
	st := again.streams[1]
	for o := st.refs.Low(); o < st.refs.End(); o++ {
		if _, there, err := st.kept.get(o); err != nil || !there {
			t.Errorf("offset %d: there %v, %v", o, there, err)
		}
	}
}
