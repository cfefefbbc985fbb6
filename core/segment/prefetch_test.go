package segment_test

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// hinted is a file system that notes what is asked of it beside reads.
type hinted struct {
	vfs.FS
	options    []vfs.OpenOption
	prefetched [][2]int64 // from and to
}

func (h *hinted) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	h.options = append(h.options, o...)
	f, err := h.FS.Open(name)
	return &hintedFile{File: f, fs: h}, err
}

type hintedFile struct {
	vfs.File
	fs *hinted
}

func (f *hintedFile) Prefetch(at, n int64) error {
	f.fs.prefetched = append(f.fs.prefetched, [2]int64{at, at + n})
	return nil
}

// TestReadRunPrefetchesTheNextRun reads a segment run by run. The kernel is told not
// to read ahead, and what the next run needs is asked for instead.
func TestReadRunPrefetchesTheNextRun(t *testing.T) {
	fs := vfs.NewMem()
	w, batches := build(t, fs, slices.Repeat([]int{200}, 600)...)
	last := batches[len(batches)-1].Next() - 1
	h := &hinted{FS: fs}
	r := open(t, h)
	if !slices.Contains(h.options, vfs.RandomReadsOption) {
		t.Error("the kernel may read ahead")
	}
	runs := 0
	for lsn := w.Base(); lsn <= last; runs++ {
		var b record.Batch
		if err := r.ReadRun(lsn, 64<<10, &b); err != nil {
			t.Fatalf("ReadRun %d: %v", lsn, err)
		}
		lsn = b.Next()
	}
	if n := len(h.prefetched); n == 0 || n >= runs {
		t.Fatalf("%d runs prefetched %d times, want some of them, and not at the end", runs, n)
	}
	for i, p := range h.prefetched {
		if n := p[1] - p[0]; n <= 0 || n > 1<<20 || p[1] > r.End() {
			t.Errorf("prefetch %d is of %d bytes at %d, the frames end at %d", i, n, p[0], r.End())
		}
	}
}
