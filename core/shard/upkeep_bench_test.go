package shard

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/record"
)

// BenchmarkUpkeepRewrite rewrites a segment of 16 MiB of telemetry, all of which
// a queue needs, and tells what counting the references costs beside.
func BenchmarkUpkeepRewrite(b *testing.B) {
	cfg := testConfig(1 << 17)
	dir := b.TempDir()
	cfg.Dir, cfg.IndexDir = dir+"/log", dir+"/index"
	cfg.SegmentBytes, cfg.BatchBytes, cfg.TailBytes = 16<<20, 1<<20, 16<<20
	cfg.CheckpointBytes = 4 << 20
	s, err := Open(cfg, Deps{FS: vfs.Default, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.CreateStream(record.Stream{ID: testQueue, Namespace: "/", Name: "q"}, true); err != nil {
		b.Fatal(err)
	}
	rng, n := rand.New(rand.NewPCG(1, 1)), 0
	for len(s.touchable()) == 0 {
		m := record.Message{Namespace: []byte("/"), Key: []byte("q"), Format: 1, QoS: 1, Streams: []record.StreamID{testQueue}}
		m.Payload = fmt.Appendf(nil, `{"device":"sensor-%05d","seq":%d,"time":%d,"temperature":%v,"humidity":%v,"pressure":%v,`+
			`"battery":%d,"status":"nominal","firmware":"2.14.3","site":"north-harbour","unit":"metric"}`,
			rng.IntN(10_000), n, 1700000000000+n, rng.Float64()*40-10, rng.Float64()*100, 950+rng.Float64()*100, rng.IntN(101))
		if _, err := s.Publish(&m, false, nil); err != nil {
			b.Fatal(err)
		}
		if n++; n%1000 == 0 {
			if err := s.Await(s.lastAppended()); err != nil {
				b.Fatal(err)
			}
		}
	}
	first := s.touchable()[:1]
	b.SetBytes(first[0].Raw)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.count(b.Context(), first); err != nil {
			b.Fatal(err)
		}
		s.upkeep.census = nil
		if _, err := s.count(b.Context(), first); err != nil {
			b.Fatal(err)
		}
		if err := s.rewrite(b.Context(), plan{rewrite: first, oldest: true}); err != nil {
			b.Fatal(err)
		}
		first = s.touchable()[:1]
	}
	b.ReportMetric(float64(first[0].Bytes)/float64(first[0].Raw), "stored/raw")
	b.ReportMetric(float64(first[0].Records), "records")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
