package index_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/index"
)

// TestPebbleStopsAtTheFirstError fails each way of writing a table: Flush tells
// of it instead of trying for ever, nothing is taken any more, and what was
// flushed before is there after a start.
func TestPebbleStopsAtTheFirstError(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"create": {errorfs.OpCreate}, "write": {errorfs.OpFileWrite},
		"sync": {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
	} {
		t.Run(name, func(t *testing.T) {
			var failing atomic.Bool
			fs := vfs.NewCrashableMem()
			p, err := index.OpenPebble(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && slices.Contains(kinds, op.Kind) && strings.HasSuffix(op.Path, ".sst") {
					return syscall.EIO
				}
				return nil
			})), "index", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			put := func(key string) error {
				var b index.Batch
				b.Set([]byte(key), []byte("value"))
				return p.Commit(&b)
			}
			if err := errors.Join(put("before"), p.Flush()); err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			if err := put("after"); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(); !errors.Is(err, syscall.EIO) {
				t.Errorf("flush: got %v, want EIO", err)
			}
			failing.Store(false)
			if err := p.Flush(); !errors.Is(err, syscall.EIO) {
				t.Errorf("second flush: got %v, want the first error", err)
			}
			if err := put("later"); !errors.Is(err, syscall.EIO) {
				t.Errorf("commit: got %v, want the first error", err)
			}
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			if err := p.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			again, err := index.OpenPebble(after, "index", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if v, err := again.Get([]byte("before")); string(v) != "value" {
				t.Errorf("what was flushed: got %q, %v", v, err)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
