package commitlog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

var errRefused = errors.New("refused")

// beforeManifest rewrites a log's segments that begin with the LSNs, and returns
// the disk as a crash leaves it between the new segment and its manifest.
func beforeManifest(t *testing.T, fs *vfs.MemFS, bases func(all []commitlog.Info) []record.LSN) *vfs.MemFS {
	t.Helper()
	var crashed *vfs.MemFS
	armed := false
	l, _ := mustOpen(t, config(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed && op.Kind == errorfs.OpRename && strings.Contains(op.Path, "MANIFEST") {
			armed = false
			crashed = fs.CrashClone(vfs.CrashCloneCfg{})
		}
		return nil
	}))))
	keep := func(_ record.LSN, kind record.Kind, body []byte) (record.Kind, []byte, error) {
		armed = true
		return kind, body, nil
	}
	refuse := func(record.LSN, record.Kind, []byte) (record.Kind, []byte, error) { return 0, nil, errRefused }
	for range 4 { // uses up generations
		if _, err := l.Rewrite(t.Context(), bases(l.Segments()), refuse); !errors.Is(err, errRefused) {
			t.Fatal(err)
		}
	}
	if _, err := l.Rewrite(t.Context(), bases(l.Segments()), keep); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	if crashed == nil {
		t.Fatal("no manifest was written")
	}
	return crashed
}

// TestInterruptedRewriteLeavesNothing crashes again and again between a
// rewritten segment and the manifest: each start frees what is left of it.
func TestInterruptedRewriteLeavesNothing(t *testing.T) {
	fs, want, _ := mixed(t)
	for range 3 {
		fs = beforeManifest(t, fs, func(all []commitlog.Info) []record.LSN {
			return []record.LSN{all[0].Base, all[1].Base}
		})
		if r := mustVerify(t, config(fs)); len(r.Unknown) != 1 {
			t.Fatalf("unknown before the start: %v", r.Unknown)
		}
		l, got := mustOpen(t, config(fs))
		if diff := want.differ(replayed(got)); diff != "" {
			t.Fatal(diff)
		}
		mustClose(t, l)
		if r := mustVerify(t, config(fs)); len(r.Unknown) != 0 || r.Faults() != 0 {
			t.Errorf("after the start: unknown %v, %d faults", r.Unknown, r.Faults())
		}
	}
	if kept, err := fs.List("data/log/quarantine"); err == nil && len(kept) > 0 {
		t.Errorf("quarantine holds %v", kept)
	}
}

// TestOtherRewritesAreKept changes one thing about a segment that an interrupted
// rewrite has left, or about the log: then it goes to quarantine.
func TestOtherRewritesAreKept(t *testing.T) {
	type left struct {
		fs      *vfs.MemFS
		path    string
		content []byte
		all     []commitlog.Info
	}
	for name, change := range map[string]func(t *testing.T, l left) error{
		"damaged": func(t *testing.T, l left) error {
			t.Helper()
			l.content[len(l.content)-20] ^= 1
			writeFile(t, l.fs, l.path, l.content)
			return nil
		},
		"of another generation than its name": func(t *testing.T, l left) error {
			t.Helper()
			writeFile(t, l.fs, fmt.Sprintf("data/log/%020d.%020d.rws", l.all[0].Base, 99), l.content)
			return l.fs.Remove(l.path)
		},
		"with what the log has not got": func(t *testing.T, l left) error {
			t.Helper()
			if err := l.fs.Remove(l.path); err != nil {
				return err
			}
			log, _ := mustOpen(t, config(l.fs))
			err := log.Drop(l.all[1].Base)
			mustClose(t, log)
			writeFile(t, l.fs, l.path, l.content)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, _, _ := mixed(t)
			var l left
			l.fs = beforeManifest(t, fs, func(all []commitlog.Info) []record.LSN {
				l.all = all
				return []record.LSN{all[0].Base, all[1].Base}
			})
			l.path = "data/log/" + mustVerify(t, config(l.fs)).Unknown[0]
			l.content = readFile(t, l.fs, l.path)
			if err := change(t, l); err != nil {
				t.Fatal(err)
			}
			log, _ := mustOpen(t, config(l.fs))
			mustClose(t, log)
			if kept, err := l.fs.List("data/log/quarantine"); err != nil || len(kept) != 1 {
				t.Errorf("quarantine holds %v, %v", kept, err)
			}
		})
	}
}
