package segment_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

var testID = record.Identity{Cluster: [16]byte{15: 1}, Shard: 3}

// batchAt is a batch of n records whose contents follow from their LSNs.
func batchAt(base record.LSN, n int) *record.Batch {
	b := &record.Batch{Base: base, Index: uint64(base), First: 1, Last: 2}
	for i := range n {
		b.Begin(record.KindMessage)
		b.Raw = fmt.Appendf(b.Raw, "record %d of the batch at %d", i, base)
		b.End()
	}
	return b
}

// appendBatch appends the batch and returns its length in the file.
func appendBatch(t testing.TB, w *segment.Writer, b *record.Batch) int64 {
	t.Helper()
	var e record.Encoder
	frame, err := e.Encode(b, testID, w.Synced())
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	size := int64(len(frame))
	if err := w.Append(frame); err != nil {
		t.Fatalf("Append: %v", err)
	}
	return size
}

// build writes a segment of the batches from LSN 5 on and leaves it open.
func build(t testing.TB, fs vfs.FS, sizes ...int) (*segment.Writer, []*record.Batch) {
	t.Helper()
	w, err := segment.Create(fs, "seg", segment.Header{Identity: testID, Base: 5, Previous: 0xabcd, Created: 99})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { _ = w.Close() })
	var batches []*record.Batch
	for _, n := range sizes {
		b := batchAt(w.Next(), n)
		appendBatch(t, w, b)
		if err := w.Sync(); err != nil {
			t.Fatalf("Sync: %v", err)
		}
		batches = append(batches, b)
	}
	return w, batches
}

func open(t testing.TB, fs vfs.FS) *segment.Reader {
	t.Helper()
	r, err := segment.Open(fs, "seg", testID)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// readAll scans a reader from its header.
func readAll(r *segment.Reader) (got []*record.Batch, err error) {
	s := r.Scan(segment.HeaderSize)
	for s.Next() {
		b := *s.Batch()
		b.Raw, b.Ends = slices.Clone(b.Raw), slices.Clone(b.Ends)
		b.Sparse, b.Times = slices.Clone(b.Sparse), slices.Clone(b.Times)
		got = append(got, &b)
	}
	return got, s.Err()
}

func sameBatch(a, b *record.Batch) bool {
	return a.Base == b.Base && a.Index == b.Index && a.First == b.First && a.Last == b.Last &&
		bytes.Equal(a.Raw, b.Raw) && slices.Equal(a.Ends, b.Ends)
}

func TestSegmentRoundTrip(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		fs := vfs.NewMem()
		// Enough for several index entries, with batches of all sizes.
		var sizes []int
		for i := range 700 {
			sizes = append(sizes, i%40)
		}
		w, want := build(t, fs, sizes...)
		if sealed {
			if _, err := w.Seal(); err != nil {
				t.Fatalf("Seal: %v", err)
			}
		}
		r := open(t, fs)
		if h := r.Header(); h != (segment.Header{Identity: testID, Base: 5, Previous: 0xabcd, Created: 99}) {
			t.Errorf("header: got %+v", h)
		}
		if r.Sealed() != sealed || r.End() != w.End() {
			t.Errorf("got sealed %v end %d, want %v and %d", r.Sealed(), r.End(), sealed, w.End())
		}
		got, err := readAll(r)
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		if !slices.EqualFunc(want, got, sameBatch) {
			t.Errorf("scanned %d batches are not the %d appended", len(got), len(want))
		}
		checkFind(t, r, w, want)
	}
}

// checkFind looks up every record by the file's own index and by the writer's.
func checkFind(t *testing.T, r *segment.Reader, w *segment.Writer, want []*record.Batch) {
	t.Helper()
	var b record.Batch
	for _, batch := range want {
		for lsn := batch.Base; lsn < batch.Next(); lsn++ {
			pos, err := r.Find(lsn)
			if err != nil {
				t.Fatalf("Find %d: %v", lsn, err)
			}
			from, end := w.Find(lsn)
			if other, err := r.Locate(from, end, lsn); err != nil || other != pos {
				t.Fatalf("Locate %d: got %d, %v, want %d", lsn, other, err, pos)
			}
			if _, err := r.ReadAt(pos, &b); err != nil || b.Base != batch.Base || b.Len() != batch.Len() {
				t.Fatalf("ReadAt %d: batch %d of %d, %v, want %d of %d", pos, b.Base, b.Len(), err, batch.Base, batch.Len())
			}
		}
	}
	for _, lsn := range []record.LSN{0, 4, w.Next()} {
		if _, err := r.Find(lsn); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("Find %d: got %v, want ErrCorrupt", lsn, err)
		}
	}
}

func TestCreateRefusesExisting(t *testing.T) {
	fs := vfs.NewMem()
	build(t, fs, 3)
	if _, err := segment.Create(fs, "seg", segment.Header{Identity: testID, Base: 5}); err == nil {
		t.Fatal("Create over an existing file: got nil")
	}
	if got, err := readAll(open(t, fs)); err != nil || len(got) != 1 {
		t.Errorf("the existing file has %d batches, %v", len(got), err)
	}
}

func TestAppendRefuses(t *testing.T) {
	w, _ := build(t, vfs.NewMem(), 3)
	var e record.Encoder
	for name, c := range map[string]struct {
		base      record.LSN
		watermark uint64
		id        record.Identity
	}{
		"gap":             {9, w.Synced(), testID},
		"overlap":         {7, w.Synced(), testID},
		"other watermark": {8, w.Synced() + 1, testID},
		"other log":       {8, w.Synced(), record.Identity{}},
	} {
		frame, err := e.Encode(batchAt(c.base, 1), c.id, c.watermark)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(frame); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	fs := vfs.NewMem()
	build(t, fs, 3)
	other := testID
	other.Shard++
	if _, err := segment.Open(fs, "seg", other); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("another log: got %v, want ErrCorrupt", err)
	}
	if _, err := segment.Open(fs, "none", testID); err == nil {
		t.Error("no file: got nil")
	}
}
