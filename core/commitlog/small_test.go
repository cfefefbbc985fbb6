package commitlog_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestSmallBatches checks that a log tells how much of each segment is stored
// small, also when it is opened again, and that small batches take less room.
func TestSmallBatches(t *testing.T) {
	cfg := config(vfs.NewMem())
	cfg.SegmentBytes = 20_000
	l, _ := mustOpen(t, cfg)
	want := contents{}
	put := func(small bool) {
		b := &record.Batch{Base: l.NextLSN(), Sync: true, Small: small}
		for i := range 20 {
			b.Begin(record.KindMessage)
			b.Raw = fmt.Appendf(b.Raw, `{"device":%d,"sequence":%d,"celsius":%d.%d}`, i*i, b.Base, 7*i%31, 13*i%97)
			b.End()
		}
		want.add(mustAppend(t, l, b))
	}
	until := func(segments int, small func(batch int) bool) {
		for batch := 0; len(l.Segments()) < segments; batch++ {
			put(small(batch))
		}
	}
	until(2, func(int) bool { return false })
	until(3, func(int) bool { return true })
	until(4, func(batch int) bool { return batch%2 == 0 })
	for range 2 {
		all := l.Segments()
		if len(all) != 4 {
			t.Fatalf("%d segments", len(all))
		}
		share := func(i commitlog.Info) float64 { return float64(i.Zstd) / float64(i.Raw) }
		if all[0].Zstd != 0 || share(all[1]) < 0.9 || share(all[2]) < 0.2 || share(all[2]) > 0.8 {
			t.Errorf("stored small: %.2f, %.2f, %.2f", share(all[0]), share(all[1]), share(all[2]))
		}
		if large, small := float64(all[0].Bytes)/float64(all[0].Raw), float64(all[1].Bytes)/float64(all[1].Raw); small > 0.9*large {
			t.Errorf("bytes per byte of record: %.2f small, %.2f large", small, large)
		}
		l = reopen(t, l, cfg, want)
		if err := want.check(l); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
}
