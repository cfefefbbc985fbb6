package commitlog_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/record"
)

// TestSyncTo asks for syncs up to a record, and counts those that there are: one
// when the record is not on the disk yet, none when it is, whatever has synced it.
func TestSyncTo(t *testing.T) {
	mem, syncs := vfs.NewCrashableMem(), 0
	fs := errorfs.Wrap(mem, hook(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync {
			syncs++
		}
		return nil
	}))
	l, _ := mustOpen(t, config(fs))
	syncTo := func(what string, lsn record.LSN, want int) {
		t.Helper()
		syncs = 0
		if err := l.SyncTo(lsn); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if syncs != want {
			t.Errorf("%s: %d syncs, want %d", what, syncs, want)
		}
	}
	first := mustAppend(t, l, batchAt(1, 3, 10, false))
	second := mustAppend(t, l, batchAt(first.Next(), 3, 10, false))
	syncTo("the first batch, of two that are not synced", first.Next()-1, 1)
	syncTo("the second, which that has synced too", second.Next()-1, 0)
	third := mustAppend(t, l, batchAt(second.Next(), 3, 10, false))
	syncTo("what was synced before", second.Next()-1, 0)
	mustAppend(t, l, batchAt(third.Next(), 1, 10, true))
	syncTo("what a later batch has synced", third.Next()-1, 0)
	last := mustAppend(t, l, batchAt(l.NextLSN(), 1, 10, false))
	syncTo("the last record", last.Base, 1)
	crashed := mem.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, l)

	l, got := mustOpen(t, config(errorfs.Wrap(crashed, hook(func(errorfs.Op) error {
		syncs++
		return nil
	}))))
	if n := len(got); n == 0 || got[n-1].Next() != last.Next() {
		t.Fatalf("%d batches recovered, want all up to %d", n, last.Base)
	}
	syncTo("what was there when the log was opened", last.Base, 0)
	mustClose(t, l)
}
