package index_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// tables writes an index of one table, closes it and returns the table's path.
func tables(t *testing.T, fs vfs.FS, id record.Identity) string {
	t.Helper()
	p, err := index.OpenPebble(fs, "index", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var b index.Batch
	b.Set(index.FormatKey, index.AppendFormat(nil, id))
	b.Set(index.AppliedKey, index.AppendLSN(nil, 7))
	for i := range 2000 {
		b.Set(index.StreamKey(record.StreamID(i)), fmt.Appendf(nil, "no stream %d", i))
	}
	for _, err := range []error{p.Commit(&b), p.Flush(), p.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names, err := fs.List("index")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			return fs.PathJoin("index", name)
		}
	}
	t.Fatalf("no table among %v", names)
	return ""
}

// TestInspectDamagedTables flips bytes all over a table, and removes it: that is said,
// and is not taken for an index that is not there.
func TestInspectDamagedTables(t *testing.T) {
	id := record.Identity{Cluster: [16]byte{1}}
	fs := vfs.NewMem()
	path := tables(t, fs, id)
	if info, err := index.Inspect(fs, "index", id); err != nil || info.Applied != 7 {
		t.Fatalf("sound: %+v, %v", info, err)
	}
	good, found := contents(t, fs, path), 0
	for at := 0; at < len(good); at += 397 {
		fs := vfs.NewMem() // one that panics leaves its lock
		bad := contents(t, fs, tables(t, fs, id))
		bad[at] ^= 0x20
		replace(t, fs, path, bad)
		_, err := index.Inspect(fs, "index", id)
		if errors.Is(err, os.ErrNotExist) {
			t.Errorf("byte %d flipped: %v", at, err)
		}
		if err != nil {
			found++
		}
	}
	if found == 0 {
		t.Error("no flipped byte was found")
	}
	if err := fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Inspect(fs, "index", id); !errors.Is(err, record.ErrCorrupt) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("table removed: %v, want ErrCorrupt", err)
	}
}

func contents(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func replace(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(b)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
