package segment_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

var update = flag.Bool("update", false, "write the golden files of the present version")

// TestGoldenSegments checks that segments of every version are read, and those
// of the present one written, byte for byte.
func TestGoldenSegments(t *testing.T) {
	for _, tc := range []struct {
		name    string
		sealed  bool
		written bool
		build   func(t testing.TB, fs vfs.FS) (*segment.Writer, []*record.Batch)
	}{
		{"v1/open.seg", false, true, buildGolden},
		{"v1/sealed.seg", true, false, buildGolden},
		{"v2/sealed.seg", true, true, buildGolden},
		{"v2/rewritten.seg", true, true, buildRewritten},
	} {
		fs := vfs.NewMem()
		w, want := tc.build(t, fs)
		if tc.sealed {
			if _, err := w.Seal(); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join("testdata", filepath.FromSlash(tc.name))
		if *update && tc.written {
			if err := os.WriteFile(path, image(t, fs, "seg"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if tc.written && !bytes.Equal(content, image(t, fs, "seg")) {
			t.Errorf("%s: what is written differs from the golden file", tc.name)
		}
		r := open(t, fileWith(t, content))
		got, err := readAll(r)
		if err != nil || r.Sealed() != tc.sealed {
			t.Fatalf("%s: sealed %v, %v", tc.name, r.Sealed(), err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: batches (-want +got):\n%s", tc.name, diff)
		}
	}
}

func buildGolden(t testing.TB, fs vfs.FS) (*segment.Writer, []*record.Batch) {
	return build(t, fs, 1, 0, 5)
}

// buildRewritten writes a segment of two sparse batches.
func buildRewritten(t testing.TB, fs vfs.FS) (*segment.Writer, []*record.Batch) {
	t.Helper()
	w, err := segment.Create(fs, "seg", segment.Header{
		Identity: testID, Base: 5, Created: 99, Rewritten: true, Generation: 7,
	})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { _ = w.Close() })
	from := batchAt(6, 30)
	var batches []*record.Batch
	for i := range 2 {
		b := new(record.Batch)
		b.ResetSparse(w.Next())
		if err := b.Take(from, 3+20*i); err != nil {
			t.Fatal(err)
		}
		if err := b.Cover(record.LSN(20 + 20*i)); err != nil {
			t.Fatal(err)
		}
		appendBatch(t, w, b)
		batches = append(batches, b)
	}
	return w, batches
}
