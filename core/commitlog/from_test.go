package commitlog_test

import (
	"errors"
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
	if _, err := l.Rewrite(t.Context(), []record.LSN{all[1].Base}, everyThird); err != nil {
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
