package shard

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// TestPublishedBehindUnsyncedRecords publishes offsets while somebody publishes without syncs (durability os);
// then the machine loses power and the index is lost.
func TestPublishedBehindUnsyncedRecords(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	cfg.Upkeep = UpkeepConfig{RewritePercent: 100, Compress: true}
	fs, offsets := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 200)
	takeNumbered(t, s, 1, 1, false)
	takeNumbered(t, s, 1, 150, true)
	s.rest(t)
	must(t, s.CreateStream(record.Stream{ID: 2, Namespace: "/", Name: "r"}, true))
	putNumbered(t, s, 2, 0, 60)
	s.rest(t)
	offsets.publish(t, s)
	s.upkeepAll(t)
	s.mu.Lock()
	s.cfg.CheckpointBytes, s.cfg.SpillRefs = 1<<40, 1<<20
	s.mu.Unlock()
	m := record.Message{Namespace: []byte("/"), Payload: []byte("unsynced"), Streams: []record.StreamID{2}}
	_, err := s.Publish(&m, false, nil)
	must(t, err)
	must(t, s.Wait(t.Context(), s.lastAppended()))
	offsets.publish(t, s) // every durable ack is on disk; the LSN is that of the last record
	pub := offsets[record.CursorRef{Stream: 1}]
	kept := fs.CrashClone(vfs.CrashCloneCfg{})
	_ = s.Close()
	again := openPublished(t, kept, index.NewMap(), cfg, offsets)
	defer again.Close()
	n := len(takeNumbered(t, again, 1, 1000, false))
	t.Logf("published %+v, log ends at %d, %d messages come", pub, again.Committed(), n)
	if pub.LSN > again.Committed() {
		t.Errorf("published offsets of durable acks are refused: as of %d, the log ends at %d", pub.LSN, again.Committed())
	}
	if n > 50 {
		t.Errorf("%d messages come, 50 are unsettled", n)
	}
}
