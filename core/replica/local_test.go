package replica_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/replica"
)

func batchAt(base record.LSN) *record.Batch {
	b := &record.Batch{Base: base, Sync: true}
	b.Begin(record.KindMessage)
	b.End()
	return b
}

// TestLocalCommitsInOrder checks that a batch is committed once it is in the
// log, in order, and never after a failed sync.
func TestLocalCommitsInOrder(t *testing.T) {
	broken := false
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken && op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	}))
	log, err := commitlog.Open(commitlog.Config{FS: fs, Dir: "log"}, func(*record.Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var got []record.LSN
	local := replica.NewLocal(log, func(b *record.Batch) {
		if log.NextLSN() != b.Next() {
			t.Errorf("batch %d committed before it is in the log", b.Base)
		}
		got = append(got, b.Base)
	})
	for base := record.LSN(1); base <= 3; base++ {
		if err := local.Propose(batchAt(base)); err != nil {
			t.Fatalf("Propose %d: %v", base, err)
		}
	}
	broken = true
	for range 2 {
		if err := local.Propose(batchAt(4)); !errors.Is(err, commitlog.ErrPoisoned) {
			t.Errorf("Propose with a failing sync: got %v, want ErrPoisoned", err)
		}
	}
	if want := []record.LSN{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("committed: got %v, want %v", got, want)
	}
	if err := local.Close(); !errors.Is(err, commitlog.ErrPoisoned) {
		t.Errorf("Close: got %v, want ErrPoisoned", err)
	}
}
