package commitlog_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testID = record.Identity{Cluster: [16]byte{15: 9}, Shard: 2}

func config(fs vfs.FS) commitlog.Config {
	return commitlog.Config{FS: fs, Dir: "data/log", Identity: testID, SegmentBytes: 16 << 10}
}

// batchAt is a batch of n records, whose contents follow from their LSNs and
// do not compress.
func batchAt(base record.LSN, n, size int, sync bool) *record.Batch {
	b := &record.Batch{Base: base, Term: 1, Index: uint64(base), First: 1, Last: 2, Sync: sync}
	rng := rand.NewChaCha8([32]byte{byte(base), byte(base >> 8), byte(base >> 16), byte(n), byte(size)})
	for range n {
		b.Begin(record.KindMessage)
		start := len(b.Raw)
		b.Raw = append(b.Raw, make([]byte, size)...)
		_, _ = rng.Read(b.Raw[start:])
		b.End()
	}
	return b
}

func clone(b *record.Batch) *record.Batch {
	c := *b
	c.Raw, c.Ends = slices.Clone(b.Raw), slices.Clone(b.Ends)
	return &c
}

// openAll opens a log and returns what it replays.
func openAll(cfg commitlog.Config) (*commitlog.Log, []*record.Batch, error) {
	var got []*record.Batch
	l, err := commitlog.Open(cfg, func(b *record.Batch) error {
		got = append(got, clone(b))
		return nil
	})
	return l, got, err
}

func mustOpen(t testing.TB, cfg commitlog.Config) (*commitlog.Log, []*record.Batch) {
	t.Helper()
	l, got, err := openAll(cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return l, got
}

func mustAppend(t testing.TB, l *commitlog.Log, b *record.Batch) *record.Batch {
	t.Helper()
	if err := l.Append(b); err != nil {
		t.Fatalf("Append %d: %v", b.Base, err)
	}
	return b
}

// fill appends count batches of various sizes.
func fill(t testing.TB, l *commitlog.Log, count int) (all []*record.Batch) {
	t.Helper()
	for i := range count {
		all = append(all, mustAppend(t, l, batchAt(l.NextLSN(), 1+i%4, 100+700*(i%3), true)))
	}
	return all
}

func mustClose(t testing.TB, l *commitlog.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// diffBatches compares contents.
func diffBatches(want, got []*record.Batch) string {
	if slices.EqualFunc(want, got, sameBatch) {
		return ""
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty())
}

// sameBatch is cmp.Equal, quickly.
func sameBatch(a, b *record.Batch) bool {
	return a.Base == b.Base && a.Term == b.Term && a.Index == b.Index && a.First == b.First && a.Last == b.Last &&
		a.Sync == b.Sync && bytes.Equal(a.Raw, b.Raw) && slices.Equal(a.Ends, b.Ends)
}

// sizeOnDisk adds up the files of the log.
func sizeOnDisk(t testing.TB, fs vfs.FS) (total int64) {
	t.Helper()
	names, err := fs.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "MANIFEST" || name == "quarantine" {
			continue
		}
		info, err := fs.Stat("data/log/" + name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	return total
}

func TestAppendReopen(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, got := mustOpen(t, config(fs))
	if len(got) != 0 || l.NextLSN() != 1 || l.FirstLSN() != 1 || l.Bytes() != 0 {
		t.Fatalf("new log: %d batches, next %d, first %d, bytes %d", len(got), l.NextLSN(), l.FirstLSN(), l.Bytes())
	}
	var want []*record.Batch
	for range 3 {
		want = append(want, fill(t, l, 25)...)
		if l.Bytes() != sizeOnDisk(t, fs) {
			t.Errorf("Bytes: got %d, want %d", l.Bytes(), sizeOnDisk(t, fs))
		}
		mustClose(t, l)
		l, got = mustOpen(t, config(fs))
		if diff := diffBatches(want, got); diff != "" {
			t.Fatalf("replayed (-want +got):\n%s", diff)
		}
		if l.NextLSN() != want[len(want)-1].Next() || l.FirstLSN() != 1 || l.Bytes() != sizeOnDisk(t, fs) {
			t.Errorf("reopened log: next %d, first %d, bytes %d", l.NextLSN(), l.FirstLSN(), l.Bytes())
		}
	}
	mustClose(t, l)
	mustClose(t, l)
	if err := l.Append(batchAt(l.NextLSN(), 1, 1, true)); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("Append after Close: got %v, want ErrClosed", err)
	}
	if _, err := l.Read(1); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("Read after Close: got %v, want ErrClosed", err)
	}
}

func TestAppendOutOfOrder(t *testing.T) {
	l, _ := mustOpen(t, config(vfs.NewMem()))
	defer l.Close()
	for _, base := range []record.LSN{0, 2} {
		if err := l.Append(batchAt(base, 1, 1, true)); !errors.Is(err, commitlog.ErrOrder) {
			t.Errorf("batch %d: got %v, want ErrOrder", base, err)
		}
	}
	fill(t, l, 1) // it is not poisoned
}

func TestReadEveryRecord(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	want := fill(t, l, 60)
	for range 2 {
		for _, b := range want {
			for lsn := b.Base; lsn < b.Next(); lsn++ {
				got, err := l.Read(lsn)
				if err != nil {
					t.Fatalf("Read %d: %v", lsn, err)
				}
				if !sameBatch(b, got) {
					t.Fatalf("Read %d: got %+v, want %+v", lsn, got, b)
				}
			}
		}
		for _, lsn := range []record.LSN{0, l.NextLSN(), l.NextLSN() + 5} {
			if _, err := l.Read(lsn); !errors.Is(err, commitlog.ErrNotFound) {
				t.Errorf("Read %d: got %v, want ErrNotFound", lsn, err)
			}
		}
		mustClose(t, l)
		l, _ = mustOpen(t, config(fs))
	}
	mustClose(t, l)
}

// TestReadWhileAppending reads through rolls of the log, over more segments
// than are kept open.
func TestReadWhileAppending(t *testing.T) {
	l, _ := mustOpen(t, config(vfs.NewMem()))
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				next := l.NextLSN()
				lsn := record.LSN(rng.Uint64N(uint64(next)))
				b, err := l.Read(lsn)
				if lsn == 0 && errors.Is(err, commitlog.ErrNotFound) {
					continue
				}
				if err != nil || lsn < b.Base || lsn >= b.Next() {
					t.Errorf("Read %d of %d: %v", lsn, next, err)
					return
				}
			}
		})
	}
	fill(t, l, 400)
	close(done)
	wg.Wait()
	mustClose(t, l)
}

func TestEmptyBatchIsReplayed(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	want := []*record.Batch{
		mustAppend(t, l, &record.Batch{Base: 1, Term: 2, Index: 1, Sync: true}),
		mustAppend(t, l, batchAt(1, 2, 10, true)),
	}
	mustClose(t, l)
	l, got := mustOpen(t, config(fs))
	defer l.Close()
	if diff := diffBatches(want, got); diff != "" {
		t.Errorf("replayed (-want +got):\n%s", diff)
	}
}

// TestWriteWatermark checks that a mark is written once for each change.
func TestWriteWatermark(t *testing.T) {
	l, _ := mustOpen(t, config(vfs.NewMem()))
	defer l.Close()
	sizes := []int64{l.Bytes()}
	step := func() {
		if err := l.WriteWatermark(); err != nil {
			t.Fatalf("WriteWatermark: %v", err)
		}
		sizes = append(sizes, l.Bytes())
	}
	step()
	mustAppend(t, l, batchAt(1, 1, 10, true))
	before := l.Bytes()
	step()
	step()
	want := []int64{0, 0, before + record.HeaderSize, before + record.HeaderSize}
	if diff := cmp.Diff(want, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func TestOpenRefusesStrangers(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, config(fs))
	fill(t, l, 3)
	mustClose(t, l)
	cfg := config(fs)
	cfg.Identity.Shard++
	var bad *commitlog.CorruptError
	if _, _, err := openAll(cfg); !errors.As(err, &bad) || !errors.Is(err, commitlog.ErrCorrupt) {
		t.Errorf("log of another shard: got %v, want CorruptError", err)
	}
	stop := errors.New("stop")
	if _, err := commitlog.Open(config(fs), func(*record.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("failing replay: got %v", err)
	}
}
