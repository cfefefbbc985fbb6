package queue_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/queue"
)

// TestPriorities compares sets of priorities with a map.
func TestPriorities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set, others queue.Priorities
		want := map[uint8]bool{}
		for _, n := range rapid.SliceOf(rapid.Uint8()).Draw(t, "added") {
			set.Add(n)
			want[n] = true
		}
		for _, n := range rapid.SliceOf(rapid.Uint8()).Draw(t, "of others") {
			others.Add(n)
			want[n] = true
		}
		set.AddAll(&others)
		for _, n := range rapid.SliceOf(rapid.Uint8()).Draw(t, "removed") {
			set.Remove(n)
			delete(want, n)
		}
		var all []uint8
		for n := range want {
			all = append(all, n)
		}
		slices.Sort(all)
		slices.Reverse(all)
		for _, n := range all {
			if got, some := set.Highest(); !some || got != n {
				t.Fatalf("got %d, %v, want %d", got, some, n)
			}
			set.Remove(n)
		}
		if n, some := set.Highest(); some {
			t.Fatalf("got %d of an empty set", n)
		}
	})
}
