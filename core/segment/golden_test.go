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
)

var update = flag.Bool("update", false, "write the golden files of the present version")

// TestGoldenSegments checks that segments of version 1 are read and written
// byte for byte.
func TestGoldenSegments(t *testing.T) {
	for _, name := range []string{"open.seg", "sealed.seg"} {
		fs := vfs.NewMem()
		w, want := build(t, fs, 1, 0, 5)
		if name == "sealed.seg" {
			if _, err := w.Seal(); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join("testdata", "v1", name)
		if *update {
			if err := os.WriteFile(path, image(t, fs, "seg"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content, image(t, fs, "seg")) {
			t.Errorf("%s: what is written differs from the golden file", name)
		}
		r := open(t, fileWith(t, content))
		got, err := readAll(r)
		if err != nil || r.Sealed() != (name == "sealed.seg") {
			t.Fatalf("%s: sealed %v, %v", name, r.Sealed(), err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: batches (-want +got):\n%s", name, diff)
		}
	}
}
