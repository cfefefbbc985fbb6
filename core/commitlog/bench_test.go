package commitlog_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// BenchmarkAppend appends batches of 256-byte records to a real file, with a
// sync for each batch and without.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, n := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("sync=%v/records=%d", sync, n), func(b *testing.B) {
				cfg := config(vfs.Default)
				cfg.Dir, cfg.SegmentBytes = b.TempDir(), 0
				l, _ := mustOpen(b, cfg)
				batch := batchAt(1, n, 255, sync)
				b.SetBytes(int64(len(batch.Raw)))
				b.ReportAllocs()
				for b.Loop() {
					mustAppend(b, l, batch)
					batch.Base = batch.Next()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
				mustClose(b, l)
			})
		}
	}
}

// BenchmarkRead reads batches of 16 records in order.
func BenchmarkRead(b *testing.B) {
	cfg := config(vfs.Default)
	cfg.Dir, cfg.SegmentBytes = b.TempDir(), 1<<20
	l, _ := mustOpen(b, cfg)
	for range 2000 {
		mustAppend(b, l, batchAt(l.NextLSN(), 16, 255, false))
	}
	lsn := l.FirstLSN()
	b.ReportAllocs()
	for b.Loop() {
		batch, err := l.Read(lsn)
		if err != nil {
			b.Fatal(err)
		}
		if lsn = batch.Next(); lsn == l.NextLSN() {
			lsn = l.FirstLSN()
		}
	}
	mustClose(b, l)
}

// BenchmarkRecover opens a log of 16 MiB.
func BenchmarkRecover(b *testing.B) {
	cfg := config(vfs.Default)
	cfg.Dir, cfg.SegmentBytes = b.TempDir(), 0
	l, _ := mustOpen(b, cfg)
	for l.Bytes() < 16<<20 {
		mustAppend(b, l, batchAt(l.NextLSN(), 64, 255, false))
	}
	mustClose(b, l)
	b.SetBytes(16 << 20)
	for b.Loop() {
		l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		mustClose(b, l)
	}
}
