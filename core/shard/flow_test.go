package shard

import (
	"testing"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestFlow checks when batches are stored small: when less than half of what
// comes goes, as of the last whole window.
func TestFlow(t *testing.T) {
	var f flow
	window := func(settled uint64) bool {
		f.came += flowWindow
		f.settled([]record.Range{{First: 7, End: 7 + record.Offset(settled/2)}, {First: 1 << 20, End: 1<<20 + record.Offset(settled-settled/2)}})
		return f.small(leastSmall)
	}
	for i, tc := range []struct {
		settled uint64
		want    bool
	}{
		{flowWindow, false},
		{0, true},
		{flowWindow/2 - 1, true},
		{flowWindow / 2, false},
		{3 * flowWindow, false}, // a drain
		{flowWindow / 3, true},
	} {
		if got := window(tc.settled); got != tc.want {
			t.Errorf("window %d, %d settled: small %v, want %v", i, tc.settled, got, tc.want)
		}
	}
	if f.small(leastSmall - 1) {
		t.Error("a short batch is stored small")
	}
	f.came, f.went = flowWindow-1, flowWindow
	if !f.small(leastSmall) {
		t.Error("half a window changes what the last one said")
	}
}

// TestPlainSegments checks that a segment is not compressed again of which little
// is not stored small yet.
func TestPlainSegments(t *testing.T) {
	for _, tc := range []struct {
		zstd      int64
		rewritten bool
		want      bool
	}{{0, false, true}, {749, false, true}, {750, false, false}, {1000, false, false}, {0, true, false}} {
		c := candidate{Info: commitlog.Info{Raw: 1000, Zstd: tc.zstd, Rewritten: tc.rewritten}, counted: true}
		if c.plain() != tc.want {
			t.Errorf("%d of 1,000 bytes stored small, rewritten %v: plain %v", tc.zstd, tc.rewritten, c.plain())
		}
	}
}
