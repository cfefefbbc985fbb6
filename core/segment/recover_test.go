package segment_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// image is a file's content.
func image(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fileWith is a file system with one segment of that content.
func fileWith(t testing.TB, content []byte) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	f, err := fs.Create("seg", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(slices.Clone(content)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return fs
}

// recoverAll recovers and counts the batches replayed.
func recoverAll(t testing.TB, fs vfs.FS) (rec *segment.Recovery, replayed int) {
	t.Helper()
	rec, err := segment.Recover(fs, "seg", testID, func(*record.Batch) error { replayed++; return nil })
	if err != nil {
		t.Fatalf("Recover: %v", err)
	}
	return rec, replayed
}

func TestRecoverSound(t *testing.T) {
	fs := vfs.NewMem()
	w, _ := build(t, fs, 3, 0, 4)
	rec, n := recoverAll(t, fs)
	if n != 3 || rec.Damage != nil || rec.Sealed || rec.End != w.End() || rec.Next != 12 || rec.Header.Base != 5 {
		t.Errorf("open segment: %d batches, %+v", n, rec)
	}
	sum, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	rec, n = recoverAll(t, fs)
	if n != 3 || rec.Damage != nil || !rec.Sealed || rec.Sum != sum || rec.Next != 12 || rec.Watermark != rec.Size {
		t.Errorf("sealed segment: %d batches, %+v", n, rec)
	}
}

// TestRecoverEveryFlip flips every bit of a file, sealed and not, and checks
// that the damage is seen and that what it proves of the watermark is right.
func TestRecoverEveryFlip(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		fs := vfs.NewMem()
		w, batches := build(t, fs, 2, 2, 2)
		if sealed {
			if _, err := w.Seal(); err != nil {
				t.Fatal(err)
			}
		}
		starts := []int64{segment.HeaderSize}
		r := open(t, fs)
		for s := r.Scan(segment.HeaderSize); s.Next(); {
			starts = append(starts, s.Pos()+int64(s.Header().Size()))
		}
		content := image(t, fs, "seg")
		for bit := range 8 * len(content) {
			bad := slices.Clone(content)
			bad[bit/8] ^= 1 << (bit % 8)
			rec, n := recoverAll(t, fileWith(t, bad))
			hit := int64(bit / 8)
			if hit < segment.HeaderSize {
				if rec.End != 0 || rec.Damage == nil || rec.Torn() || n != 0 {
					t.Fatalf("bit %d, header: %+v", bit, rec)
				}
				continue
			}
			frame := 0
			for frame+1 < len(starts) && starts[frame+1] <= hit {
				frame++
			}
			if n != frame || rec.Damage == nil || rec.Damage.From != starts[frame] {
				t.Fatalf("bit %d in frame %d: %d batches, damage %+v", bit, frame, n, rec.Damage)
			}
			// Frame i carries the end of frame i-1, and a footer the end of all.
			torn := frame >= len(batches)-1 && !sealed || frame == len(batches)
			if rec.TornTail() != torn {
				t.Fatalf("bit %d in frame %d, sealed %v: torn tail %v, want %v: %+v", bit, frame, sealed, rec.TornTail(), torn, rec)
			}
			if !torn && (rec.Damage.First != batches[frame].Base || rec.Damage.Last != batches[frame].Next()-1 ||
				rec.Damage.To != starts[frame+1]) {
				t.Fatalf("bit %d in frame %d: damage %+v", bit, frame, rec.Damage)
			}
		}
	}
}

// TestRecoverEveryLength recovers a file cut at every length.
func TestRecoverEveryLength(t *testing.T) {
	fs := vfs.NewMem()
	build(t, fs, 2, 2, 2)
	content := image(t, fs, "seg")
	for size := range content {
		rec, n := recoverAll(t, fileWith(t, content[:size]))
		switch {
		case size < segment.HeaderSize:
			if !rec.Torn() || rec.TornTail() {
				t.Fatalf("%d bytes: torn %v, tail %v", size, rec.Torn(), rec.TornTail())
			}
			continue
		case rec.Damage != nil && !rec.TornTail():
			t.Fatalf("%d bytes: %+v is no torn tail", size, rec.Damage)
		}
		cutAndResume(t, content[:size], rec, n)
	}
}

// cutAndResume repairs a torn file and appends to it.
func cutAndResume(t *testing.T, content []byte, rec *segment.Recovery, n int) {
	t.Helper()
	fs := fileWith(t, content)
	if rec.Damage != nil {
		if err := segment.Cut(fs, "seg", rec); err != nil {
			t.Fatalf("Cut: %v", err)
		}
	}
	w, err := segment.Resume(fs, "seg", rec)
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	defer w.Close()
	appendBatch(t, w, batchAt(w.Next(), 3))
	again, m := recoverAll(t, fs)
	if again.Damage != nil || m != n+1 || again.Next != rec.Next+3 {
		t.Fatalf("after repair of %d bytes: %d batches, want %d, %+v", len(content), m, n+1, again)
	}
}

// TestRecoverValidFramesBehindTear checks that a tear at the watermark is cut
// even though sound frames follow it: unsynced blocks reach the disk in any order.
func TestRecoverValidFramesBehindTear(t *testing.T) {
	fs := vfs.NewMem()
	w, _ := build(t, fs, 2)
	tear := w.End()
	for range 3 {
		appendBatch(t, w, batchAt(w.Next(), 2)) // never synced
	}
	content := image(t, fs, "seg")
	content[tear+100] ^= 1
	rec, n := recoverAll(t, fileWith(t, content))
	if n != 1 || !rec.TornTail() || rec.End != tear || rec.Watermark != tear {
		t.Errorf("%d batches, watermark %d, want tear at %d: %+v", n, rec.Watermark, tear, rec.Damage)
	}
}

func TestRecoverGap(t *testing.T) {
	fs := vfs.NewMem()
	w, _ := build(t, fs, 2)
	content := image(t, fs, "seg")
	var e record.Encoder
	frame, err := e.Encode(batchAt(w.Next()+10, 2), testID, w.Synced())
	if err != nil {
		t.Fatal(err)
	}
	rec, n := recoverAll(t, fileWith(t, append(content, frame...)))
	if d := rec.Damage; n != 1 || d == nil || !d.Gap || rec.TornTail() || d.First != 7 || d.Last != 16 {
		t.Errorf("gap: %d batches, %+v", n, d)
	}
}

// TestRecoverForgedTrailer checks that a message that looks like a trailer
// does not hide the frame that it is in.
func TestRecoverForgedTrailer(t *testing.T) {
	fs := vfs.NewMem()
	w, _ := build(t, fs, 2)
	if _, err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	content := image(t, fs, "seg")
	rec, n := recoverAll(t, fileWith(t, append(slices.Clone(content), content[len(content)-segment.TrailerSize:]...)))
	if rec.Sealed || n != 1 || !rec.TornTail() {
		t.Errorf("trailer at a wrong place: %d batches, %+v", n, rec)
	}
}

func TestRecoverReplayError(t *testing.T) {
	fs := vfs.NewMem()
	build(t, fs, 2)
	stop := errors.New("stop")
	if _, err := segment.Recover(fs, "seg", testID, func(*record.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of replay", err)
	}
}

// FuzzSegment puts any bytes behind a sound header.
func FuzzSegment(f *testing.F) {
	fs := vfs.NewMem()
	w, _ := build(f, fs, 2, 0, 3)
	content := image(f, fs, "seg")
	header := content[:segment.HeaderSize:segment.HeaderSize]
	f.Add(content[segment.HeaderSize:])
	if _, err := w.Seal(); err != nil {
		f.Fatal(err)
	}
	f.Add(image(f, fs, "seg")[segment.HeaderSize:])
	f.Fuzz(func(t *testing.T, rest []byte) {
		fs := fileWith(t, append(header, rest...))
		r := open(t, fs)
		_, _ = readAll(r)
		_, _ = r.Find(6)
		rec, n := recoverAll(t, fs)
		if rec.Sealed {
			return
		}
		if rec.Damage != nil {
			if err := segment.Cut(fs, "seg", rec); err != nil {
				t.Fatalf("Cut: %v", err)
			}
		}
		again, m := recoverAll(t, fs)
		if again.Damage != nil || m != n || again.Next != rec.Next {
			t.Fatalf("the sound run does not recover: %+v, %d batches, then %+v, %d", rec, n, again, m)
		}
	})
}

// FuzzHeader puts any bytes in the place of the header.
func FuzzHeader(f *testing.F) {
	fs := vfs.NewMem()
	build(f, fs, 2)
	content := image(f, fs, "seg")
	f.Add(content)
	f.Add(content[:segment.HeaderSize])
	f.Fuzz(func(t *testing.T, content []byte) {
		fs := fileWith(t, content)
		rec, _ := recoverAll(t, fs)
		r, err := segment.Open(fs, "seg", testID)
		if (err == nil) != (rec.End > 0) {
			t.Fatalf("Open: %v, Recover: %+v", err, rec)
		}
		if err == nil {
			_ = r.Close()
		}
	})
}
