package commitlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestOpenFrom opens a log from every LSN: it replays what is above, of
// original and of rewritten segments.
func TestOpenFrom(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, want := aged(t, cfg)
	all := l.Segments()
	if _, err := l.Rewrite(t.Context(), []record.LSN{all[1].Base}, messages(everyThird)); err != nil {
		t.Fatal(err)
	}
	want.drop(all[1].Base, all[1].Last, everyThird)
	next, segments := l.NextLSN(), l.Segments()
	mustClose(t, l)
	for from := range next {
		cfg.From = from
		l, got := mustOpen(t, cfg)
		for i, b := range got {
			if b.Next() <= from+1 {
				t.Fatalf("from %d: batch %d, %d to %d, replayed", from, i, b.Base, b.Next())
			}
		}
		have := replayed(got)
		for lsn := from + 1; lsn < next; lsn++ {
			if want[lsn] != have[lsn] {
				t.Fatalf("from %d: record %d is not replayed as it is", from, lsn)
			}
		}
		now := l.Segments()
		now[len(now)-1].Bytes = segments[len(now)-1].Bytes // it has got a mark
		if !slices.Equal(segments, now) {
			t.Fatalf("from %d: segments %+v, want %+v", from, now, segments)
		}
		mustClose(t, l)
	}
	l, _ = mustOpen(t, cfg)
	if err := want.check(l); err != nil {
		t.Error(err)
	}
	mustClose(t, l)
	cfg.From = next
	if _, _, err := openAll(cfg); !errors.Is(err, commitlog.ErrBehind) {
		t.Errorf("from behind the end: got %v, want ErrBehind", err)
	}
}

// TestBehindChangesNothing checks that a log that lost its tail is refused
// before anything is cut.
func TestBehindChangesNothing(t *testing.T) {
	fs := vfs.NewMem()
	cfg := config(fs)
	l, _ := mustOpen(t, cfg)
	fill(t, l, 4)
	cfg.From = l.NextLSN() - 1
	path := segments(t, fs)[0]
	torn := readFile(t, fs, path)
	torn = torn[:len(torn)-1]
	mustClose(t, l)
	writeFile(t, fs, path, torn)
	if _, _, err := openAll(cfg); !errors.Is(err, commitlog.ErrBehind) {
		t.Fatalf("got %v, want ErrBehind", err)
	}
	if !slices.Equal(readFile(t, fs, path), torn) {
		t.Error("the file was changed")
	}
}

// TestOpenFromReadsLittle counts what is read of segments below the checkpoint.
func TestOpenFromReadsLittle(t *testing.T) {
	mem := vfs.NewMem()
	cfg := config(mem)
	cfg.SegmentBytes = 1 << 20
	l, _ := mustOpen(t, cfg)
	for len(l.Segments()) < 8 {
		mustAppend(t, l, batchAt(l.NextLSN(), 20, 1000, false))
	}
	cfg.From = l.NextLSN() - 1
	mustClose(t, l)
	reads := map[string]int{}
	cfg.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			reads[op.Path]++
		}
		return nil
	}))
	l, got := mustOpen(t, cfg)
	defer l.Close()
	paths := segments(t, mem)
	for _, path := range paths[:len(paths)-1] {
		if reads[path] == 0 || reads[path] > 3 {
			t.Errorf("%s: %d reads, want header, trailer and index", path, reads[path])
		}
	}
	if len(got) != 0 {
		t.Errorf("%d batches replayed", len(got))
	}
}

// TestBitFlipsBelowCheckpoint flips bits of segments whose frames Open does not
// read: then reading, rewriting and verifying see it, and nothing else comes out.
func TestBitFlipsBelowCheckpoint(t *testing.T) {
	fs, want, all := mixed(t)
	cfg := config(fs)
	cfg.From = all[len(all)-1].Last
	paths := segments(t, fs)[:len(all)-1]
	rng := rand.New(rand.NewPCG(6, 6))
	opened := 0
	for i := range 300 {
		which := rng.IntN(len(paths))
		content := readFile(t, fs, paths[which])
		bad := slices.Clone(content)
		bit := rng.IntN(8 * len(content))
		bad[bit/8] ^= 1 << (bit % 8)
		writeFile(t, fs, paths[which], bad)
		what := fmt.Sprintf("flip %d, %s bit %d", i, paths[which], bit)
		l, _, err := openAll(cfg)
		if err != nil {
			if !errors.Is(err, commitlog.ErrCorrupt) {
				t.Fatalf("%s: %v", what, err)
			}
			writeFile(t, fs, paths[which], content)
			continue
		}
		opened++
		seen := 0
		for lsn := all[which].Base; lsn <= all[which].Last; lsn++ {
			b, err := l.Read(lsn)
			if errors.Is(err, commitlog.ErrCorrupt) {
				seen++
			} else if err := want.compare(lsn, b, err); err != nil {
				t.Fatalf("%s: Read %d: %v", what, lsn, err)
			}
		}
		if seen == 0 {
			t.Fatalf("%s: no read has seen it", what)
		}
		before := l.Segments()
		_, err = l.Rewrite(t.Context(), []record.LSN{all[which].Base}, messages(func(record.LSN) bool { return true }))
		if !errors.Is(err, commitlog.ErrCorrupt) || !slices.Equal(before, l.Segments()) {
			t.Fatalf("%s: Rewrite: got %v, want ErrCorrupt and the same segments", what, err)
		}
		mustClose(t, l)
		if r := mustVerify(t, cfg); r.Faults() != 1 {
			t.Fatalf("%s: Verify: %d faults", what, r.Faults())
		}
		if !slices.Equal(readFile(t, fs, paths[which]), bad) {
			t.Fatalf("%s: the damaged file was changed", what)
		}
		writeFile(t, fs, paths[which], content)
	}
	if opened < 200 {
		t.Errorf("only %d logs opened", opened)
	}
}
