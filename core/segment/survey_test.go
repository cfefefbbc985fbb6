package segment_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// walkAll walks through a file and returns the LSNs of the records in it.
func walkAll(t testing.TB, fs vfs.FS) (*segment.Survey, []record.LSN) {
	t.Helper()
	var lsns []record.LSN
	v, err := segment.Walk(fs, "seg", testID, 5, func(_ int64, _ *record.Header, b *record.Batch) error {
		for i := range b.Len() {
			lsns = append(lsns, b.LSN(i))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Walk: %v", err)
	}
	return v, lsns
}

// TestWalkEveryFlip flips every bit of original and rewritten segments, sealed
// and not: each is seen, in the bytes where it is, and every record is either
// visited or within a fault.
func TestWalkEveryFlip(t *testing.T) {
	for what, write := range map[string]func(testing.TB, vfs.FS) (*segment.Writer, []*record.Batch){
		"original": buildGolden, "rewritten": buildRewritten,
	} {
		for _, sealed := range []bool{false, true} {
			fs := vfs.NewMem()
			w, _ := write(t, fs)
			if sealed {
				if _, err := w.Seal(); err != nil {
					t.Fatal(err)
				}
			}
			whole, all := walkAll(t, fs)
			if len(whole.Faults) > 0 || whole.Sealed != sealed || whole.Next != w.Next() || whole.End != w.End() ||
				whole.Stats.Records != uint64(len(all)) {
				t.Fatalf("%s: %+v", what, whole)
			}
			content := image(t, fs, "seg")
			for bit := range 8 * len(content) {
				content[bit/8] ^= 1 << (bit % 8)
				v, got := walkAll(t, fileWith(t, content))
				content[bit/8] ^= 1 << (bit % 8)
				if len(v.Faults) == 0 {
					t.Fatalf("%s: bit %d flipped: no fault", what, bit)
				}
				for _, lsn := range all {
					lost := slices.ContainsFunc(v.Faults, func(f segment.Damage) bool {
						return lsn >= f.First && (lsn <= f.Last || f.Last == 0)
					})
					if lost == slices.Contains(got, lsn) {
						t.Fatalf("%s: bit %d flipped: record %d lost %v, visited %v", what, bit, lsn, lost, !lost)
					}
				}
				if f := v.Faults[0]; int64(bit/8) < f.From || int64(bit/8) >= f.To {
					t.Fatalf("%s: bit %d flipped: fault in bytes %d to %d", what, bit, f.From, f.To)
				}
			}
		}
	}
}

// TestInspect checks that header and footer tell the same as all frames, and
// that any damage of them makes Inspect refer to Recover.
func TestInspect(t *testing.T) {
	fs := vfs.NewMem()
	w, _ := build(t, fs, 3, 0, 4)
	if rec, err := segment.Inspect(fs, "seg", testID); rec != nil || err != nil {
		t.Errorf("segment that is not sealed: got %+v, %v, want nil", rec, err)
	}
	if _, err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	want, _ := recoverAll(t, fs)
	got, err := segment.Inspect(fs, "seg", testID)
	if err != nil || got.Header != want.Header || got.Size != want.Size || got.End != want.End || got.Next != want.Next ||
		got.Sum != want.Sum || got.Stats != want.Stats || !got.Sealed || got.Stats.Batches != 3 || got.Stats.Records != 7 {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	content := image(t, fs, "seg")
	for bit := range 8 * len(content) {
		if pos := int64(bit / 8); pos >= segment.HeaderSize && pos < want.End {
			continue
		}
		content[bit/8] ^= 1 << (bit % 8)
		rec, err := segment.Inspect(fileWith(t, content), "seg", testID)
		content[bit/8] ^= 1 << (bit % 8)
		if rec != nil || err != nil {
			t.Fatalf("bit %d flipped: got %+v, %v, want nil", bit, rec, err)
		}
	}
}

// TestSparseFramesStayApart checks that no writer mixes the kinds of frames.
func TestSparseFramesStayApart(t *testing.T) {
	var e record.Encoder
	original, _ := build(t, vfs.NewMem(), 1)
	frame, err := e.Encode(&record.Batch{Base: 6, Until: 9}, testID, original.Synced())
	if err != nil {
		t.Fatal(err)
	}
	if err := original.Append(frame); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("sparse frame in an original segment: got %v, want ErrCorrupt", err)
	}
	rewritten, _ := buildRewritten(t, vfs.NewMem())
	if frame, err = e.Encode(batchAt(rewritten.Next(), 1), testID, rewritten.Synced()); err != nil {
		t.Fatal(err)
	}
	if err := rewritten.Append(frame); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("dense frame in a rewritten segment: got %v, want ErrCorrupt", err)
	}
}

// TestReadRunStopsAtDamage checks that a run gives what is sound before a
// fault, and the fault itself only to who asks for it.
func TestReadRunStopsAtDamage(t *testing.T) {
	fs := vfs.NewMem()
	_, batches := build(t, fs, 2, 2, 2)
	content := image(t, fs, "seg")
	content[len(content)-1] ^= 1
	r := open(t, fileWith(t, content))
	var b record.Batch
	if err := r.ReadRun(5, 1<<20, &b); err != nil || b.Len() != 4 || b.Next() != batches[2].Base {
		t.Errorf("ReadRun before the fault: %d records, %v", b.Len(), err)
	}
	if err := r.ReadRun(9, 1<<20, &b); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("ReadRun of the fault: got %v, want ErrCorrupt", err)
	}
}
