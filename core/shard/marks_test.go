package shard

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// TestStoreWithoutControlMarks opens the store of a time that knew no marks of
// records that say more than a message does, trims the log and loses the index.
func TestStoreWithoutControlMarks(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	fs, offsets, store := vfs.NewCrashableMem(), published{}, index.NewMap()
	s := openPublished(t, fs, store, cfg, offsets)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 200)
	takeNumbered(t, s, 1, 200, true)
	s.rest(t)
	must(t, s.Close())
	var b index.Batch
	b.DeletePrefix(index.ControlPrefix)
	b.Delete(index.MarkedKey)
	must(t, store.Commit(&b))
	must(t, store.Flush())
	s = openPublished(t, fs, store, cfg, offsets)
	putNumbered(t, s, 1, 200, 230)
	s.rest(t)
	offsets.publish(t, s)
	s.upkeepAll(t)
	offsets.publish(t, s)
	must(t, s.Close())
	again := openPublished(t, fs, index.NewMap(), cfg, offsets)
	defer again.Close()
	if again.Streams() != 1 {
		t.Fatalf("the durable queue with 30 unsettled messages is gone: %d streams; log begins at %d", again.Streams(), again.log.FirstLSN())
	}
	if got := takeNumbered(t, again, 1, 1000, false); len(got) < 30 {
		t.Errorf("got %d of 30", len(got))
	}
}
