package shard

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

func putNumbered(t *testing.T, s *Shard, id record.StreamID, from, to int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(from), 3))
	for i := from; i < to; i++ {
		p := fmt.Appendf(nil, "%06d", i)
		for range 200 {
			p = append(p, byte(rng.Uint32()))
		}
		m := record.Message{Namespace: []byte("/"), Payload: p, Streams: []record.StreamID{id}}
		lsn, err := s.Publish(&m, true, nil)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
	}
}

func takeNumbered(t *testing.T, s *Shard, id record.StreamID, n int, settle bool) (got []string) {
	t.Helper()
	for range n {
		ref, _, ok, err := s.Get(t.Context(), id)
		must(t, err)
		if !ok {
			return got
		}
		var h Hint
		var m record.Message
		if _, err = s.Record(ref.LSN, &h, &m); err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, string(m.Payload[:6]))
		}
		if settle {
			s.SettleTaken(id, []record.Offset{ref.Offset}, false)
		}
	}
	return got
}

// acceptAll gives up what is missing of a log up to the record known, and returns how
// many records that are.
func acceptAll(t *testing.T, fs vfs.FS, cfg Config, known record.LSN) int {
	t.Helper()
	lc := commitlog.Config{FS: fs, Dir: cfg.Dir, Identity: cfg.Identity, SegmentBytes: cfg.SegmentBytes, From: known}
	r, err := commitlog.Verify(lc, nil)
	must(t, err)
	n := 0
	for _, g := range r.Segments {
		if len(g.Faults) == 0 {
			continue
		}
		lost := commitlog.Loss{First: g.Faults[0].First}
		for _, f := range g.Faults {
			lost.Last = max(lost.Last, f.Last, f.First)
		}
		n += int(lost.Last - lost.First + 1)
		t.Logf("accept loss of %d to %d in %s", lost.First, lost.Last, g.Name)
		must(t, commitlog.AcceptLoss(lc, g.Name, lost))
	}
	return n
}

// Rot hits records that everybody has settled; its loss is accepted and the
// index is lost too. Everything unsettled is sound in the log.
func TestAcceptedLossLeavesPublishedOffsetsInDoubt(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs, offsets := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 200)
	takeNumbered(t, s, 1, 120, true)
	offsets.publish(t, s)
	segs := s.log.Segments()
	must(t, s.Close())
	g := segs[2]
	damage(t, fs, fmt.Sprintf("log/%020d.seg", g.Base), g.Bytes/2)
	n := acceptAll(t, fs, cfg, 0)
	again := openPublished(t, fs, index.NewMap(), cfg, offsets)
	defer again.Close()
	got := takeNumbered(t, again, 1, 1000, false)
	if len(got) < 80 || got[0] > "000120" {
		t.Errorf("%d settled records lost; of the 80 unsettled and sound messages 000120.. %d are delivered, from %v", n, len(got), got[:min(1, len(got))])
	}
}

// A segment in which a loss was accepted keeps messages without places. An older
// segment is dropped, and later the index is lost.
func TestSalvagedSegmentBehindGap(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	fs, offsets, store := vfs.NewCrashableMem(), published{}, index.NewMap()
	s := openPublished(t, fs, store, cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 200)
	takeNumbered(t, s, 1, 120, true)
	s.rest(t)
	segs := s.log.Segments()
	must(t, s.Close())
	var bad commitlog.Info
	for _, g := range segs {
		if g.Base > 135 {
			bad = g
			break
		}
	}
	damage(t, fs, fmt.Sprintf("log/%020d.seg", bad.Base), bad.Bytes/2)
	lost := acceptAll(t, fs, cfg, 0)
	s = openPublished(t, fs, store, cfg, offsets)
	takeNumbered(t, s, 1, 25, true) // into the salvaged segment
	putNumbered(t, s, 1, 200, 230)
	s.rest(t)
	offsets.publish(t, s)
	s.upkeepAll(t) // drops what is dead and rewrites nothing else
	offsets.publish(t, s)
	t.Logf("%+v; first %d", s.UpkeepStats(), s.log.FirstLSN())
	for _, g := range s.log.Segments() {
		t.Logf("%d to %d rewritten %v records %d", g.Base, g.Last, g.Rewritten, g.Records)
	}
	live := takeNumbered(t, s, 1, 1000, false)
	t.Logf("before: %d from %s", len(live), live[0])
	want := len(live) - lost
	must(t, s.Close())
	again := openPublished(t, fs, index.NewMap(), cfg, offsets)
	defer again.Close()
	got := takeNumbered(t, again, 1, 1000, false)
	if len(got) < want {
		t.Errorf("%d of %d unsettled sound messages after the index was lost, from %v", len(got), want, got[:min(1, len(got))])
	}
}

// A log that was trimmed by a version that wrote no ENDS (main at 338a287 to
// 35b57a0, index of the same format), or whose ENDS was lost.
func TestGapWithoutEnds(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	fs, offsets, store := vfs.NewCrashableMem(), published{}, index.NewMap()
	s := openPublished(t, fs, store, cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 200)
	takeNumbered(t, s, 1, 150, true)
	s.rest(t)
	offsets.publish(t, s)
	s.upkeepAll(t)
	offsets.publish(t, s)
	must(t, s.Close())
	must(t, fs.Remove("log/ENDS"))
	again := openPublished(t, fs, index.NewMap(), cfg, offsets)
	defer again.Close()
	if got := takeNumbered(t, again, 1, 1000, false); len(got) < 50 {
		t.Errorf("opened, and delivers %d of 50 unsettled messages", len(got))
	}
}

// TestRecountedOffsetsAreNotMixed loses the index twice: first with a loss in the
// log, so that offsets are counted anew, and then, after the log was trimmed and
// more was settled, once again. What is published or acked in one count settles
// nothing in the other.
func TestRecountedOffsetsAreNotMixed(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	cfg.Upkeep.RewritePercent = 30
	fs, offsets := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 200)
	takeNumbered(t, s, 1, 120, true)
	must(t, s.Await(s.FlushAcks()))
	offsets.publish(t, s)
	segs := s.log.Segments()
	must(t, s.Close())
	damage(t, fs, fmt.Sprintf("log/%020d.seg", segs[2].Base), segs[2].Bytes/2)
	acceptAll(t, fs, cfg, 0)

	store := index.NewMap()
	s = openPublished(t, fs, store, cfg, offsets)
	first := takeNumbered(t, s, 1, 60, true)
	putNumbered(t, s, 1, 200, 230)
	s.rest(t)
	offsets.publish(t, s)
	s.upkeepAll(t)
	t.Logf("log begins at %d, settled %s to %s", s.log.FirstLSN(), first[0], first[len(first)-1])
	live := takeNumbered(t, s, 1, 1000, false)
	must(t, s.Close())

	for range 2 { // with its ENDS, and from what the rebuild has stored
		again := openPublished(t, fs, store, cfg, offsets)
		if got := takeNumbered(t, again, 1, 1000, false); len(got) != len(live) || got[0] != live[0] {
			t.Errorf("%d messages from %s, want %d from %s", len(got), got[0], len(live), live[0])
		}
		must(t, again.Close())
		store = index.NewMap()
	}
}

// TestLastSegmentSalvaged accepts a loss in the last segment, with nothing behind
// it: all that there is was on the disk before, so a long replay spills.
func TestLastSegmentSalvaged(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs, offsets := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 40)
	all := s.log.Segments()
	must(t, s.Close())
	g := all[len(all)-1]
	damage(t, fs, fmt.Sprintf("log/%020d.seg", g.Base), 100)
	if acceptAll(t, fs, cfg, 0) == 0 {
		t.Fatal("nothing is damaged")
	}
	last, err := commitlog.LastSegment(commitlog.Config{FS: fs, Dir: cfg.Dir, Identity: cfg.Identity})
	must(t, err)
	if end := s.Committed(); last != end+1 {
		t.Errorf("the last segment begins at %d, want %d, behind all records", last, end+1)
	}
	must(t, openPublished(t, fs, index.NewMap(), cfg, offsets).Close())
}

// TestLostStreamIsReported loses the record that made a stream that nobody knows: a
// rebuild tells of its messages, which stay.
func TestLostStreamIsReported(t *testing.T) {
	cfg := testConfig(100)
	fs, offsets := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	must(t, s.Await(s.lastAppended()))
	putNumbered(t, s, 1, 0, 20)
	takeNumbered(t, s, 1, 5, true)
	offsets.publish(t, s)
	base := s.log.Segments()[0].Base
	must(t, s.Close())
	damage(t, fs, fmt.Sprintf("log/%020d.seg", base), segment.HeaderSize+40)
	acceptAll(t, fs, cfg, 0)
	var told bytes.Buffer
	again, err := Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.NewTextHandler(&told, nil)), Published: offsets.read,
		OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
	})
	must(t, err)
	defer again.Close()
	if again.Streams() != 1 {
		t.Error("the stream was not made again")
	}
	if !strings.Contains(told.String(), "streams=1 messages=20") {
		t.Errorf("20 messages are kept and not served in silence:\n%s", told.String())
	}
}
