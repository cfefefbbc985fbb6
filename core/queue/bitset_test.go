package queue

import (
	"testing"

	"github.com/tidegate/tidegate/core/record"
)

// TestSettleFarBelow settles far above and then far below: the set makes room
// for what lies between at once, not block by block.
func TestSettleFarBelow(t *testing.T) {
	const far = record.Offset(1 << 30)
	var s bitset
	allocations := testing.AllocsPerRun(1, func() {
		s = bitset{}
		for _, o := range []record.Offset{far, 3, far / 2} {
			if !s.set(o) || s.set(o) {
				t.Fatalf("offset %d", o)
			}
		}
	})
	if allocations > 20 {
		t.Errorf("%v allocations", allocations)
	}
	for o, want := range map[record.Offset]bool{3: true, 2: false, far / 2: true, far/2 + 1: false, far: true, far - 1: false} {
		if s.has(o) != want {
			t.Errorf("has %d: %v", o, !want)
		}
	}
	if s.count != 3 || s.next(3) != 4 || s.next(far) != far+1 {
		t.Errorf("%d offsets, behind 3 comes %d", s.count, s.next(3))
	}
}
