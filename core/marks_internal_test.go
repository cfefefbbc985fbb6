package core

import (
	"context"
	"testing"

	"github.com/tidegate/tidegate/metadata"
)

// TestLowerMarkReplacesNone publishes the mark of a log that had ended before the one that
// is published, as a start finds that could not read it: it stays, and is not lost either
// when it can't be read again.
func TestLowerMarkReplacesNone(t *testing.T) {
	b := inside(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.DeclareQueue(t.Context(), "/", QueueSpec{Name: "q", Durable: true})
	must(err)
	must(b.Close())
	if b.shards[0].Synced() == 0 {
		t.Fatal("nothing to publish")
	}
	mark := func(lsn uint64) metadata.Mark {
		return metadata.Mark{Incarnation: b.identity.Cluster, LSN: lsn}
	}
	for _, lower := range []bool{false, true} {
		put, want := uint64(1000), uint64(1000)
		if lower {
			put, want = 0, uint64(b.shards[0].Synced())
		}
		must(b.deps.Catalog.PutMarks(t.Context(), []metadata.Mark{mark(put)}))
		b.compared = false
		all := make([]shardOffsets, 1)
		away, cancel := context.WithCancel(t.Context())
		cancel()
		b.publishMarks(away, all)
		if b.compared {
			t.Error("compared with what could not be read")
		}
		b.publishMarks(t.Context(), all)
		marks, err := b.deps.Catalog.Marks(t.Context())
		must(err)
		if len(marks) != 1 || marks[0] != mark(want) {
			t.Errorf("marks: %+v, want %d", marks, want)
		}
	}
}
