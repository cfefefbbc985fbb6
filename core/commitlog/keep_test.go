package commitlog_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestRewriteChangesRecords has a rewrite keep records of any kind, and others
// than they were, each with its own LSN and time.
func TestRewriteChangesRecords(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, _ := aged(t, cfg)
	defer func() { mustClose(t, l) }()
	s := l.Segments()[1]
	times := map[record.LSN]int64{}
	var scratch []byte
	info, err := l.Rewrite(t.Context(), []record.LSN{s.Base},
		func(lsn record.LSN, _ record.Kind, body []byte) (record.Kind, []byte, error) {
			if b, err := l.Read(lsn); err == nil {
				i, _ := b.Find(lsn)
				times[lsn] = b.Time(i)
			}
			if lsn%2 == 0 {
				return 0, nil, nil
			}
			scratch = append(append(scratch[:0], "changed "...), body...)
			return record.KindPlaced, scratch, nil
		})
	if err != nil || info.Records == 0 || info.Records >= s.Records {
		t.Fatalf("Rewrite: %+v, %v", info, err)
	}
	for lsn := s.Base; lsn <= s.Last; lsn++ {
		b, err := l.Read(lsn)
		if lsn%2 == 0 {
			if !errors.Is(err, commitlog.ErrNotFound) {
				t.Errorf("Read %d, which was left out: %v", lsn, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("Read %d: %v", lsn, err)
		}
		i, _ := b.Find(lsn)
		kind, body := b.Record(i)
		if kind != record.KindPlaced || string(body[:8]) != "changed " || b.Time(i) != times[lsn] {
			t.Errorf("record %d: kind %d, time %d, %q", lsn, kind, b.Time(i), body[:8])
		}
	}
}

// TestRewriteEndsWithKeep ends a rewrite by what keep says.
func TestRewriteEndsWithKeep(t *testing.T) {
	cfg := config(vfs.NewMem())
	l, want := aged(t, cfg)
	defer func() { mustClose(t, l) }()
	_, err := l.Rewrite(t.Context(), []record.LSN{l.Segments()[0].Base},
		func(record.LSN, record.Kind, []byte) (record.Kind, []byte, error) { return 0, nil, io.ErrUnexpectedEOF })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Rewrite: got %v, want the error of keep", err)
	}
	if err := want.check(l); err != nil {
		t.Error(err)
	}
}

// TestFaults damages one frame of a sealed segment, which a rewrite then
// refuses, and asks where the damage is.
func TestFaults(t *testing.T) {
	fs := vfs.NewMem()
	cfg := config(fs)
	l, _ := aged(t, cfg)
	defer func() { mustClose(t, l) }()
	s := l.Segments()[1]
	if faults, err := l.Faults(s.Base); err != nil || len(faults) != 0 {
		t.Fatalf("Faults of a sound segment: %v, %v", faults, err)
	}
	path := segments(t, fs)[1]
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.WriteAt([]byte{0xff, 0xff, 0xff}, s.Bytes/2)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = l.Rewrite(t.Context(), []record.LSN{s.Base}, messages(everyThird))
	if !errors.Is(err, commitlog.ErrCorrupt) {
		t.Errorf("Rewrite of a damaged segment: %v", err)
	}
	faults, err := l.Faults(s.Base)
	if err != nil || len(faults) != 1 || faults[0].First <= s.Base || faults[0].Last < faults[0].First ||
		faults[0].Last >= s.Last || faults[0].From > s.Bytes/2 || faults[0].To <= s.Bytes/2 || faults[0].Segment != path {
		t.Errorf("Faults: %v, %v; segment %+v", faults, err, s)
	}
	if _, err := l.Faults(s.Base + 1); !errors.Is(err, commitlog.ErrNotFound) {
		t.Errorf("Faults of no segment: %v", err)
	}
}
