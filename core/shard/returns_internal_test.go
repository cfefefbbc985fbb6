package shard

import (
	"testing"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// TestReturnsAreForgotten settles what came back, but for the first message: what is
// known of the others goes, though nothing can be trimmed.
func TestReturnsAreForgotten(t *testing.T) {
	const many = 1000 * index.ChunkLen
	var q queue.Queue
	r := new(returns)
	for o := range record.Offset(many) {
		q.Take(many)
		r.set(&q, o, 1)
		r.set(&q, o, 2)
		if got := r.count(o); got != 2 {
			t.Fatalf("message %d: got %d returns, want 2", o, got)
		}
		if o > 0 {
			q.Settle(o)
		}
	}
	if got := r.count(0); got != 2 {
		t.Errorf("the first message: got %d returns, want 2", got)
	}
	if len(r.chunks) > 4 || len(r.ring) != len(r.chunks) {
		t.Errorf("%d chunks are left, %d are looked at", len(r.chunks), len(r.ring))
	}
	if len(r.changed) != 1000 {
		t.Errorf("got %d chunks for the store to forget or to have, want 1000", len(r.changed))
	}
}
