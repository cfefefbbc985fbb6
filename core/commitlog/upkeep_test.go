package commitlog_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// reopen closes the log and opens it again.
func reopen(t testing.TB, l *commitlog.Log, cfg commitlog.Config, want contents) *commitlog.Log {
	t.Helper()
	mustClose(t, l)
	l, got := mustOpen(t, cfg)
	if diff := want.differ(replayed(got)); diff != "" {
		t.Fatalf("replayed (-want +got):\n%s", diff)
	}
	return l
}

// aged is a log of some sealed segments.
func aged(t testing.TB, cfg commitlog.Config) (*commitlog.Log, contents) {
	t.Helper()
	l, _ := mustOpen(t, cfg)
	want := contents{}
	want.add(fill(t, l, 80)...)
	if n := len(l.Segments()); n < 5 {
		t.Fatalf("only %d segments", n)
	}
	return l, want
}

func everyThird(lsn record.LSN) bool { return lsn%3 == 0 }

func TestSegments(t *testing.T) {
	l, _ := aged(t, config(vfs.NewMem()))
	defer l.Close()
	next, bytes := record.LSN(1), int64(0)
	all := l.Segments()
	for i, s := range all {
		if s.Base != next || s.Sealed != (i < len(all)-1) || s.Rewritten || s.Records != uint64(s.Last+1-s.Base) ||
			s.First != 1 || s.Latest != 2 || s.Raw <= 0 || s.Raw > s.Bytes {
			t.Errorf("segment %d: %+v, want it from %d on", i, s, next)
		}
		next, bytes = s.Last+1, bytes+s.Bytes
	}
	if next != l.NextLSN() || bytes != l.Bytes() {
		t.Errorf("segments up to %d of %d bytes, log up to %d of %d bytes", next, bytes, l.NextLSN(), l.Bytes())
	}
}

func TestDrop(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, want := aged(t, cfg)
	all := l.Segments()
	for _, i := range []int{0, 2, 3} { // the first, and two in the middle
		s := all[i]
		if err := l.Drop(s.Base); err != nil {
			t.Fatalf("Drop %d: %v", s.Base, err)
		}
		want.drop(s.Base, s.Last, nil)
		if err := want.check(l); err != nil {
			t.Fatal(err)
		}
		if l.Bytes() != sizeOnDisk(t, cfg.FS) {
			t.Errorf("Bytes: got %d, want %d", l.Bytes(), sizeOnDisk(t, cfg.FS))
		}
		l = reopen(t, l, cfg, want)
		if err := want.check(l); err != nil {
			t.Fatalf("reopened: %v", err)
		}
	}
	if l.FirstLSN() != all[1].Base {
		t.Errorf("FirstLSN: got %d, want %d", l.FirstLSN(), all[1].Base)
	}
	for _, base := range []record.LSN{0, all[0].Base, all[1].Base + 1, all[len(all)-1].Base, l.NextLSN()} {
		if err := l.Drop(all[1].Base, base); !errors.Is(err, commitlog.ErrNotFound) {
			t.Errorf("Drop of what is no sealed segment, %d: got %v, want ErrNotFound", base, err)
		}
	}
	if err := want.check(l); err != nil {
		t.Errorf("after refused drops: %v", err)
	}
	// All that is sealed, and then on.
	for _, s := range l.Segments() {
		if s.Sealed {
			if err := l.Drop(s.Base); err != nil {
				t.Fatal(err)
			}
			want.drop(s.Base, s.Last, nil)
		}
	}
	want.add(fill(t, l, 30)...)
	l = reopen(t, l, cfg, want)
	if err := want.check(l); err != nil {
		t.Error(err)
	}
	mustClose(t, l)
}

func TestRewrite(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, want := aged(t, cfg)
	all := l.Segments()
	rewrite := func(first, last int, live func(record.LSN) bool) commitlog.Info {
		var bases []record.LSN
		for _, s := range all[first : last+1] {
			bases = append(bases, s.Base)
		}
		info, err := l.Rewrite(t.Context(), bases, messages(live))
		if err != nil {
			t.Fatalf("Rewrite %v: %v", bases, err)
		}
		want.drop(all[first].Base, all[last].Last, live)
		records := uint64(0)
		for lsn := range want {
			if lsn >= info.Base && lsn <= info.Last {
				records++
			}
		}
		if info.Base != all[first].Base || info.Last != all[last].Last || info.Records != records || !info.Rewritten {
			t.Errorf("Rewrite %v: got %+v, want %d records of %d to %d", bases, info, records, all[first].Base, all[last].Last)
		}
		if err := want.check(l); err != nil {
			t.Fatal(err)
		}
		l = reopen(t, l, cfg, want)
		if err := want.check(l); err != nil {
			t.Fatalf("reopened: %v", err)
		}
		all = l.Segments()
		if l.Bytes() != sizeOnDisk(t, cfg.FS) {
			t.Errorf("Bytes: got %d, want %d", l.Bytes(), sizeOnDisk(t, cfg.FS))
		}
		return info
	}
	rewrite(1, 1, everyThird)
	rewrite(0, 2, func(lsn record.LSN) bool { return lsn%2 == 0 })
	if all[0].Bytes == 0 || !all[0].Rewritten || all[1].Rewritten {
		t.Errorf("segments: %+v", all)
	}
	rewrite(0, 0, func(record.LSN) bool { return true })
	if info := rewrite(1, 1, func(record.LSN) bool { return false }); info.Records != 0 || info.Bytes != 0 {
		t.Errorf("Rewrite of nothing live: %+v", info)
	}
	mustClose(t, l)
}

// TestRewriteKeepsMessagesAlone checks that records of other kinds go, and that
// each record keeps its own time.
func TestRewriteKeepsMessagesAlone(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, _ := mustOpen(t, cfg)
	defer func() { mustClose(t, l) }()
	for len(l.Segments()) < 3 {
		b := &record.Batch{Base: l.NextLSN(), First: 1000 * int64(l.NextLSN()), Sync: true}
		for _, kind := range []record.Kind{record.KindMessage, record.KindAck, record.KindMessage} {
			b.Begin(kind)
			b.Raw = append(b.Raw, "of some length, so that a segment fills before long"...)
			b.End()
		}
		mustAppend(t, l, b)
	}
	s := l.Segments()[0]
	if _, err := l.Rewrite(t.Context(), []record.LSN{s.Base}, messages(func(record.LSN) bool { return true })); err != nil {
		t.Fatal(err)
	}
	for lsn := s.Base; lsn <= s.Last; lsn++ {
		b, err := l.Read(lsn)
		if lsn%3 == 2 {
			if !errors.Is(err, commitlog.ErrNotFound) {
				t.Fatalf("Read of an ack, %d: got %v, want ErrNotFound", lsn, err)
			}
			continue
		}
		i, ok := b.Find(lsn)
		if want := 1000 * int64((lsn-1)/3*3+1); err != nil || !ok || b.Time(i) != want {
			t.Fatalf("Read %d: %v, time %d, want %d", lsn, err, b.Time(i), want)
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	l, want := aged(t, config(vfs.NewMem()))
	defer l.Close()
	all := l.Segments()
	for what, bases := range map[string][]record.LSN{
		"none": {}, "a gap": {all[0].Base, all[2].Base}, "the last": {all[len(all)-1].Base}, "no base": {all[0].Base + 1},
	} {
		if _, err := l.Rewrite(t.Context(), bases, messages(everyThird)); !errors.Is(err, commitlog.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", what, err)
		}
	}
	if err := want.check(l); err != nil {
		t.Error(err)
	}
}

// TestRewriteEnds ends a rewrite by its context, its throttle and the end of
// the log; nothing is left of it.
func TestRewriteEnds(t *testing.T) {
	stop := errors.New("stop")
	for _, tc := range []struct {
		what string
		want error
	}{{"context", context.Canceled}, {"throttle", stop}, {"dropped", commitlog.ErrNotFound}} {
		fs := vfs.NewMem()
		cfg := config(fs)
		cfg.SegmentBytes = 1 << 20
		ctx, cancel := context.WithCancel(t.Context())
		var l *commitlog.Log
		cfg.Throttle = func(_ context.Context, bytes int) error {
			if bytes < 100<<10 {
				t.Errorf("throttled after %d bytes", bytes)
			}
			switch tc.what {
			case "context":
				cancel()
			case "throttle":
				return stop
			case "dropped":
				if err := l.Drop(1); err != nil && !errors.Is(err, commitlog.ErrNotFound) {
					t.Errorf("Drop meanwhile: %v", err)
				}
			}
			return nil
		}
		l, _ = mustOpen(t, cfg)
		for len(l.Segments()) < 2 {
			mustAppend(t, l, batchAt(l.NextLSN(), 8, 2000, false))
		}
		_, err := l.Rewrite(ctx, []record.LSN{1}, messages(everyThird))
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.what, err, tc.want)
		}
		names := segments(t, fs)
		want := 3 // two segments and the manifest
		if tc.what == "dropped" {
			want = 2
		}
		if len(names) != want || l.Bytes() != sizeOnDisk(t, fs) {
			t.Errorf("%s: left %v", tc.what, names)
		}
		mustClose(t, l)
		cancel()
	}
}

// TestUpkeepWhileBusy rewrites and drops under readers and an appender.
func TestUpkeepWhileBusy(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, _ := mustOpen(t, cfg)
	want := contents{}
	want.add(fill(t, l, 120)...)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		wg.Go(func() {
			for lsn := record.LSN(1 + i); ; lsn = lsn%l.NextLSN() + 1 {
				select {
				case <-done:
					return
				default:
				}
				b, err := l.ReadAhead(lsn, 5000)
				if i == 0 {
					b, err = l.Read(lsn)
				}
				if errors.Is(err, commitlog.ErrNotFound) && lsn%6 != 0 {
					continue
				}
				if lsn > 100 { // what is above is appended meanwhile
					continue
				}
				if err := want.compare(lsn, b, err); err != nil {
					t.Errorf("Read %d: %v", lsn, err)
					return
				}
			}
		})
	}
	wg.Go(func() { fill(t, l, 200) })
	for _, n := range []record.LSN{2, 3, 6} {
		for _, s := range l.Segments() {
			if !s.Sealed || s.Last > 100 {
				continue
			}
			if _, err := l.Rewrite(t.Context(), []record.LSN{s.Base}, messages(func(lsn record.LSN) bool { return lsn%n == 0 })); err != nil {
				t.Errorf("Rewrite %d: %v", s.Base, err)
			}
		}
	}
	close(done)
	wg.Wait()
	mustClose(t, l)
}

// TestReadAhead checks the shape of runs.
func TestReadAhead(t *testing.T) {
	cfg := config(vfs.NewMem())
	cfg.SegmentBytes = 0
	l, _ := mustOpen(t, cfg)
	defer l.Close()
	for range 3000 {
		mustAppend(t, l, batchAt(l.NextLSN(), 1, 99, false))
	}
	if err := l.WriteWatermark(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, batchAt(l.NextLSN(), 1, 99, false))
	var lens []int
	for lsn := record.LSN(1); lsn < l.NextLSN(); {
		b, err := l.ReadAhead(lsn, 100_000)
		if err != nil || b.LSN(0) != lsn {
			t.Fatalf("ReadAhead %d: %v", lsn, err)
		}
		lens, lsn = append(lens, b.Len()), b.Next()
	}
	if want := []int{1000, 1000, 1000, 1}; !slices.Equal(lens, want) {
		t.Errorf("runs: got %v, want %v", lens, want)
	}
	if b, err := l.ReadAhead(7, 0); err != nil || b.Len() != 1 || b.Until != 0 {
		t.Errorf("ReadAhead without a limit to fill: %+v, %v", b, err)
	}
}
