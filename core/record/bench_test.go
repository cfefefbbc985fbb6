package record_test

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/core/record"
)

var benchSizes = []int{1, 8, 64, 512, 2048}

func BenchmarkEncodeFrame(b *testing.B) {
	for _, codec := range []string{"s2", "zstd"} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/records=%d", codec, n), func(b *testing.B) {
				batch := telemetryBatch(n)
				e := record.Encoder{Zstd: codec == "zstd"}
				stored := 0
				b.SetBytes(int64(len(batch.Raw)))
				b.ReportAllocs()
				for b.Loop() {
					frame, err := e.Encode(batch, testID, 64)
					if err != nil {
						b.Fatal(err)
					}
					stored = len(frame)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
				b.ReportMetric(float64(len(batch.Raw))/float64(stored), "ratio")
			})
		}
	}
}

func BenchmarkDecodeFrame(b *testing.B) {
	for _, codec := range []string{"s2", "zstd"} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/records=%d", codec, n), func(b *testing.B) {
				e := record.Encoder{Zstd: codec == "zstd"}
				batch := telemetryBatch(n)
				frame := mustEncode(b, &e, batch, 64)
				var into record.Batch
				b.SetBytes(int64(len(batch.Raw)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := record.DecodeFrame(frame, testID, &into); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			})
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	m := messages()["plain"]
	m.Payload = make([]byte, 256)
	buf := make([]byte, 0, 1024)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = record.AppendMessage(buf[:0], &m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		var got record.Message
		b.ReportAllocs()
		for b.Loop() {
			if err := record.DecodeMessage(buf, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
