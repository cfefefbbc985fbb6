package core_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// TestFirstOfItsPriorityInATransaction ends the process before each step on the disk of a
// transaction that is the first to use a priority in queues of several shards: then all
// of it is there, or nothing.
func TestFirstOfItsPriorityInATransaction(t *testing.T) {
	for _, shards := range []int{1, 3} {
		for _, kept := range []int{0, 50, 100} {
			t.Run(fmt.Sprintf("shards=%d/kept=%d", shards, kept), func(t *testing.T) {
				for step := 0; ; step++ {
					if firstAndCrashAt(t, shards, step, kept) == notReached {
						break
					}
				}
			})
		}
	}
}

func firstAndCrashAt(t *testing.T, shards, step, kept int) (reached int) {
	t.Helper()
	w := newWorldWith(t, shards, func(c *core.Config, d *core.Deps) {
		calm(c, d)
		ranked(c, d)
	})
	tx := w.publisher(nil).p.Begin()
	for _, q := range txQueues {
		w.declare(q, upTo(9))
		w.publisher(nil).priors(q, "a/0")
		c, wake := w.consume(q, core.NewLimit(1))
		w.must(tx.Settle(c, core.Ack, w.take(c, wake, 1)[0].Position))
	}
	reached = w.crashDuring(step, kept, func() {
		for _, q := range txQueues {
			m := prior(q, "b", 4)
			_, err := tx.Publish(&m)
			w.must(err)
		}
		w.must(tx.Commit())
	})
	first := w.bodiesOf(txQueues[0])
	if reached == notReached && !slices.Equal(first, []string{"b"}) {
		t.Fatalf("after the commit: got %v, want b", first)
	}
	for _, q := range txQueues[1:] {
		if got := w.bodiesOf(q); !slices.Equal(got, first) {
			t.Fatalf("crash at step %d: %v in one queue, %v in another", step, first, got)
		}
	}
	if len(first) != 1 {
		t.Fatalf("crash at step %d: got %v, want a or b", step, first)
	}
	return reached
}
