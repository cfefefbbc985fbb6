package commitlog_test

import (
	"fmt"
	"math/rand/v2"
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

// telemetryBatch is a batch of n reports of about 256 bytes with random floats.
func telemetryBatch(base record.LSN, n int) *record.Batch {
	rng := rand.New(rand.NewPCG(uint64(base), 1))
	b := &record.Batch{Base: base, First: int64(base), Last: int64(base)}
	m := record.Message{
		Namespace: []byte("/"), Exchange: []byte("amq.topic"), Format: 2, QoS: 1, Streams: []record.StreamID{42},
	}
	for i := range n {
		device := rng.IntN(10000)
		m.Key = fmt.Appendf(nil, "site/north/device/%05d/report", device)
		m.Payload = fmt.Appendf(nil, `{"device":"sensor-%05d","seq":%d,"time":%d,"temperature":%v,"humidity":%v,`+
			`"pressure":%v,"battery":%d,"status":"nominal","firmware":"2.14.3","site":"north-harbour","unit":"metric"}`,
			device, int(base)+i, 1700000000000+int64(base)+int64(i), rng.Float64()*40-10, rng.Float64()*100,
			950+rng.Float64()*100, rng.IntN(101))
		b.Begin(record.KindMessage)
		b.Raw = record.AppendMessage(b.Raw, &m)
		b.End()
	}
	return b
}

// BenchmarkRewrite rewrites a segment of 16 MiB, more than 40 MiB of
// telemetry, all of it live.
func BenchmarkRewrite(b *testing.B) {
	cfg := config(vfs.Default)
	cfg.Dir, cfg.SegmentBytes = b.TempDir(), 16<<20
	l, _ := mustOpen(b, cfg)
	for len(l.Segments()) < 2 {
		mustAppend(b, l, telemetryBatch(l.NextLSN(), 500))
	}
	s := l.Segments()[0]
	b.SetBytes(s.Raw)
	b.ReportAllocs()
	for b.Loop() {
		info, err := l.Rewrite(b.Context(), []record.LSN{s.Base}, messages(func(record.LSN) bool { return true }))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Bytes)/float64(info.Raw), "stored/raw")
	}
	mustClose(b, l)
}

// BenchmarkDrain reads records of 256 bytes in order, which came in batches of
// one, or in large ones that were rewritten.
func BenchmarkDrain(b *testing.B) {
	for _, shape := range []string{"batches=1", "batches=1/one-by-one", "rewritten"} {
		b.Run(shape, func(b *testing.B) {
			cfg := config(vfs.Default)
			cfg.Dir, cfg.SegmentBytes = b.TempDir(), 8<<20
			l, _ := mustOpen(b, cfg)
			for len(l.Segments()) < 2 {
				batch := batchAt(l.NextLSN(), 1, 255, false)
				if shape == "rewritten" {
					batch = telemetryBatch(l.NextLSN(), 500)
				}
				mustAppend(b, l, batch)
			}
			if s := l.Segments()[0]; shape == "rewritten" {
				if _, err := l.Rewrite(b.Context(), []record.LSN{s.Base}, messages(func(record.LSN) bool { return true })); err != nil {
					b.Fatal(err)
				}
			}
			read := func(lsn record.LSN) (*record.Batch, error) { return l.ReadAhead(lsn, 256<<10) }
			if shape == "batches=1/one-by-one" {
				read = l.Read
			}
			lsn, records := record.LSN(1), 0
			b.ReportAllocs()
			for b.Loop() {
				batch, err := read(lsn)
				if err != nil {
					b.Fatal(err)
				}
				records += batch.Len()
				if lsn = batch.Next(); lsn >= l.NextLSN() {
					lsn = 1
				}
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
			mustClose(b, l)
		})
	}
}

// BenchmarkOpenFrom opens a log of 1,000 sealed segments with the checkpoint
// near its end. Such a log holds 64 GB at the default length of a segment.
func BenchmarkOpenFrom(b *testing.B) {
	cfg := config(vfs.Default)
	cfg.Dir, cfg.SegmentBytes = b.TempDir(), 64<<10
	l, _ := mustOpen(b, cfg)
	for len(l.Segments()) < 1000 {
		mustAppend(b, l, batchAt(l.NextLSN(), 60, 1000, false))
	}
	cfg.From = l.NextLSN() - 100
	mustClose(b, l)
	for b.Loop() {
		l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		mustClose(b, l)
	}
}
