package commitlog_test

import (
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// TestRewriteKeepsNoBuffers rewrites many segments: the log knows each for as long
// as it is there, and that must not hold the buffers that it was written with.
func TestRewriteKeepsNoBuffers(t *testing.T) {
	const segments, bytes, most = 48, 512 << 10, 8 << 20
	cfg := config(vfs.NewMem())
	cfg.SegmentBytes = 1
	l, _ := mustOpen(t, cfg)
	defer mustClose(t, l)
	for range segments + 1 {
		b := &record.Batch{Base: l.NextLSN(), First: 1, Last: 1, Sync: true}
		b.Begin(record.KindMessage)
		b.Raw = append(b.Raw, make([]byte, bytes)...)
		b.End()
		mustAppend(t, l, b)
	}
	before := heap()
	for _, s := range l.Segments()[:segments] {
		keep := func(_ record.LSN, kind record.Kind, body []byte) (record.Kind, []byte, error) { return kind, body, nil }
		if _, err := l.Rewrite(t.Context(), []record.LSN{s.Base}, keep); err != nil {
			t.Fatalf("Rewrite %d: %v", s.Base, err)
		}
	}
	if n := len(l.Segments()); n != segments+1 {
		t.Fatalf("got %d segments, want %d", n, segments+1)
	}
	if grown := int64(heap()) - int64(before); grown > most {
		t.Errorf("%d rewrites of %d bytes keep %d bytes of memory", segments, bytes, grown)
	}
}

// heap returns the bytes that are in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools kept goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
