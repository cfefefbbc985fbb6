package commitlog_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// segments returns the paths of the log's segments in order.
func segments(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for i := range names {
		names[i] = "data/log/" + names[i]
	}
	return names
}

func readFile(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return p
}

func writeFile(t testing.TB, fs vfs.FS, path string, content []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(slices.Clone(content))
	if err := errors.Join(err, f.Sync(), f.Close(), segment.SyncDir(fs, fs.PathDir(path))); err != nil {
		t.Fatal(err)
	}
}

func TestMissingSegment(t *testing.T) {
	build := func() *vfs.MemFS {
		fs := vfs.NewMem()
		l, _ := mustOpen(t, config(fs))
		fill(t, l, 60)
		mustClose(t, l)
		return fs
	}
	paths := segments(t, build())
	if len(paths) < 3 {
		t.Fatalf("only %d segments", len(paths))
	}
	for i := range len(paths) - 1 {
		fs := build()
		if err := fs.Remove(paths[i]); err != nil {
			t.Fatal(err)
		}
		_, _, err := openAll(config(fs))
		bad, ok := errors.AsType[*commitlog.CorruptError](err)
		if !ok || bad.Segment != paths[i+1] || bad.First == 0 || bad.Last < bad.First {
			t.Errorf("without segment %d: got %v, want CorruptError", i, err)
		}
	}
}

// TestForeignSegment puts a segment of another life of the same log, with the
// same LSNs, in the place of the log's own.
func TestForeignSegment(t *testing.T) {
	life := func(term uint64) *vfs.MemFS {
		fs := vfs.NewMem()
		l, _ := mustOpen(t, config(fs))
		for range 60 {
			b := batchAt(l.NextLSN(), 1, 1000, true)
			b.Term = term
			mustAppend(t, l, b)
		}
		mustClose(t, l)
		return fs
	}
	one, other := life(1), life(2)
	paths := segments(t, one)
	for i, path := range paths[:len(paths)-1] {
		own := readFile(t, one, path)
		writeFile(t, one, path, readFile(t, other, path))
		_, _, err := openAll(config(one))
		want := paths[i+1]
		if i > 0 {
			want = path
		}
		if bad, ok := errors.AsType[*commitlog.CorruptError](err); !ok || bad.Segment != want {
			t.Errorf("segment %d of another life: got %v, want CorruptError in %s", i, err, want)
		}
		writeFile(t, one, path, own)
	}
}

// TestTornCreation checks that a segment that a crash left without a sound
// header is made anew, and one that held frames is not.
func TestTornCreation(t *testing.T) {
	for size := range segment.HeaderSize + 2 {
		fs := vfs.NewMem()
		l, _ := mustOpen(t, config(fs))
		want := fill(t, l, 1)
		for len(segments(t, fs)) < 2 {
			want = append(want, fill(t, l, 1)...)
		}
		mustClose(t, l)
		want = want[:len(want)-1] // it is the first of the new segment
		last := segments(t, fs)[1]
		writeFile(t, fs, last, make([]byte, size))
		l, got, err := openAll(config(fs))
		if size > segment.HeaderSize {
			if _, ok := errors.AsType[*commitlog.CorruptError](err); !ok {
				t.Errorf("%d zero bytes: got %v, want CorruptError", size, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d zero bytes: %v", size, err)
		}
		if diff := diffBatches(want, got); diff != "" {
			t.Fatalf("%d zero bytes: replayed (-want +got):\n%s", size, diff)
		}
		want = append(want, fill(t, l, 1)...)
		mustClose(t, l)
		l, got = mustOpen(t, config(fs))
		if diff := diffBatches(want, got); diff != "" {
			t.Fatalf("%d zero bytes: after repair (-want +got):\n%s", size, diff)
		}
		mustClose(t, l)
	}
}

// TestTornWrite ends the last frame at every byte, and once more with zeros in
// the place of the rest.
func TestTornWrite(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	want := fill(t, l, 4)
	start := l.Bytes()
	mustAppend(t, l, batchAt(l.NextLSN(), 2, 60, true))
	path := segments(t, fs)[0]
	content := readFile(t, fs, path)
	mustClose(t, l)
	for size := start; size < int64(len(content)); size++ {
		for _, zeros := range []bool{false, true} {
			torn := slices.Clone(content[:size])
			if zeros {
				torn = append(torn, make([]byte, int64(len(content))-size)...)
				if slices.Equal(torn, content) {
					continue
				}
			}
			writeFile(t, fs, path, torn)
			l, got := mustOpen(t, config(fs))
			if diff := diffBatches(want, got); diff != "" {
				t.Fatalf("torn at %d (-want +got):\n%s", size, diff)
			}
			extra := mustAppend(t, l, batchAt(l.NextLSN(), 1, 10, true))
			mustClose(t, l)
			l, got = mustOpen(t, config(fs))
			if diff := diffBatches(append(slices.Clone(want), extra), got); diff != "" {
				t.Fatalf("torn at %d, appended (-want +got):\n%s", size, diff)
			}
			mustClose(t, l)
		}
	}
}

// TestNothingBehindACutComesBack tears a frame that a sound one follows, and has
// another of its length written in its place: what followed the torn one must
// not follow the new one.
func TestNothingBehindACutComesBack(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	want := fill(t, l, 2)
	start := l.Bytes()
	mustAppend(t, l, batchAt(l.NextLSN(), 1, 60, false))
	mustAppend(t, l, batchAt(l.NextLSN(), 1, 60, false))
	path := segments(t, fs)[0]
	content := readFile(t, fs, path)
	mustClose(t, l)
	content[start+record.HeaderSize] ^= 1
	writeFile(t, fs, path, content)
	l, got := mustOpen(t, config(fs))
	if diff := diffBatches(want, got); diff != "" {
		t.Fatalf("torn (-want +got):\n%s", diff)
	}
	want = append(want, mustAppend(t, l, batchAt(l.NextLSN(), 1, 60, true)))
	killed := readFile(t, fs, path)
	mustClose(t, l)
	writeFile(t, fs, path, killed)
	l, got = mustOpen(t, config(fs))
	if diff := diffBatches(want, got); diff != "" {
		t.Fatalf("written again (-want +got):\n%s", diff)
	}
	mustClose(t, l)
}

// TestBitFlips flips random bits of a log that was closed in order: below the
// last mark each is a CorruptError and changes nothing; the mark itself may be
// cut away.
func TestBitFlips(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	want := fill(t, l, 50)
	mustClose(t, l)
	paths := segments(t, fs)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 1000 {
		which := rng.IntN(len(paths))
		path := paths[which]
		content := readFile(t, fs, path)
		bad := slices.Clone(content)
		bit := rng.IntN(8 * len(content))
		bad[bit/8] ^= 1 << (bit % 8)
		writeFile(t, fs, path, bad)
		what := fmt.Sprintf("flip %d, %s bit %d of %d bytes", i, path, bit, len(content))
		l, got, err := openAll(config(fs))
		if which == len(paths)-1 && bit/8 >= len(content)-record.HeaderSize {
			if err != nil {
				t.Fatalf("%s: in the last mark: %v", what, err)
			}
			mustClose(t, l)
			if diff := diffBatches(want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", what, diff)
			}
		} else if e, ok := errors.AsType[*commitlog.CorruptError](err); !ok || e.Segment != path ||
			int64(bit/8) < e.From || (int64(bit/8) >= e.To && e.To > e.From) {
			t.Fatalf("%s: got %v, want CorruptError", what, err)
		} else if !slices.Equal(readFile(t, fs, path), bad) {
			t.Fatalf("%s: the damaged file was changed", what)
		}
		writeFile(t, fs, path, content)
	}
	if !slices.Equal(paths, segments(t, fs)) {
		t.Errorf("segments: got %v, want %v", segments(t, fs), paths)
	}
}

// TestLaterVersion checks that a sound frame of a later version is refused, and
// is not cut away though it lies above the watermark.
func TestLaterVersion(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	fill(t, l, 2)
	start := l.Bytes()
	fill(t, l, 1)
	path := segments(t, fs)[0]
	content := readFile(t, fs, path)
	mustClose(t, l)
	header := content[start : start+record.HeaderSize]
	header[4] = 3
	binary.LittleEndian.PutUint32(header[76:], testID.Checksum(header[:76]))
	writeFile(t, fs, path, content)
	if _, _, err := openAll(config(fs)); !errors.Is(err, record.ErrVersion) || errors.Is(err, commitlog.ErrCorrupt) {
		t.Errorf("frame of version 3: got %v, want ErrVersion", err)
	}
	if !slices.Equal(readFile(t, fs, path), content) {
		t.Error("the file was changed")
	}
}
