package main

import "testing"

// TestMemoryIsGivenBackAtRest plays what a process allocates from look to look.
func TestMemoryIsGivenBackAtRest(t *testing.T) {
	const mb = 1 << 20
	var m idleMemory
	var allocated uint64
	for i, look := range []struct {
		adds, live uint64
		gives      bool
	}{
		{300 * mb, 100 * mb, false},  // the start
		{mb / 10, 100 * mb, true},    // rests: what the start left
		{mb / 10, 100 * mb, false},   // nothing came since
		{50 * mb, 100 * mb, false},   // works
		{mb, 100 * mb, false},        // still
		{mb / 10, 100 * mb, true},    // a burst is over
		{20 * mb, 100 * mb, false},   // a short one
		{mb / 10, 100 * mb, false},   // not worth a collection of this heap
		{mb / 10, 20 * mb, true},     // but of a smaller one
		{1000 * mb, 400 * mb, false}, // and again
		{0, 400 * mb, true},
	} {
		allocated += look.adds
		if got := m.rests(allocated, look.live); got != look.gives {
			t.Errorf("look %d: gives back %v, want %v", i, got, look.gives)
		}
	}
	if allocated, live := heapUse(); allocated == 0 || live > allocated {
		t.Errorf("of the heap %d bytes live, %d were allocated", live, allocated)
	}
}
