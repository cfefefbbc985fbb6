package commitlog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestNoLSNTwiceBehindALostLog loses every segment: what is accepted then goes on
// behind what the checkpoint has seen, whatever the manifest said.
func TestNoLSNTwiceBehindALostLog(t *testing.T) {
	for name, manifest := range map[string]func(fs vfs.FS){
		"lists none": func(vfs.FS) {},
		"missing":    func(fs vfs.FS) { _ = fs.Remove("data/log/MANIFEST") },
		"garbled":    func(fs vfs.FS) { writeFile(t, fs, "data/log/MANIFEST", []byte("nothing of use")) },
		"directory":  func(fs vfs.FS) { _ = fs.RemoveAll("data/log") },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			cfg := config(fs)
			l, _ := mustOpen(t, cfg)
			fill(t, l, 60)
			for _, s := range l.Segments() {
				if s.Sealed {
					if err := l.Drop(s.Base); err != nil {
						t.Fatal(err)
					}
				}
			}
			next := l.NextLSN()
			mustClose(t, l)
			for _, path := range segments(t, fs) {
				if strings.HasSuffix(path, ".seg") {
					if err := fs.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			manifest(fs)
			cfg.From = next - 1
			if err := commitlog.AcceptLoss(cfg, "MANIFEST", commitlog.Loss{}); err != nil {
				t.Fatal(err)
			}
			if err := commitlog.AcceptLoss(cfg, "MANIFEST", commitlog.Loss{}); !errors.Is(err, commitlog.ErrNotFound) {
				t.Errorf("accepted twice: got %v, want ErrNotFound", err)
			}
			for range 2 {
				l, _ = mustOpen(t, cfg)
				if got := l.NextLSN(); got != next {
					t.Errorf("the log goes on at %d, want %d", got, next)
				}
				next += record.LSN(len(fill(t, l, 1)))
				mustClose(t, l)
			}
		})
	}
}

// TestManifestOfRewrittenSegmentsAlone loses the manifest and all original segments:
// the rewritten ones are the log, and what it lacks up to the checkpoint is named.
func TestManifestOfRewrittenSegmentsAlone(t *testing.T) {
	fs, _, infos := mixed(t)
	for _, path := range segments(t, fs) {
		if strings.HasSuffix(path, ".seg") || strings.HasSuffix(path, "MANIFEST") {
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := config(fs)
	cfg.From = infos[len(infos)-1].Last + 7
	if err := commitlog.AcceptLoss(cfg, "MANIFEST", commitlog.Loss{}); err != nil {
		t.Fatal(err)
	}
	r, err := commitlog.Verify(cfg, nil)
	if err != nil || len(r.Segments) == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	last := &r.Segments[len(r.Segments)-1]
	if n := len(last.Faults); n != 1 || last.Faults[0].Last != cfg.From {
		t.Fatalf("faults %+v, want one that ends at %d", last.Faults, cfg.From)
	}
	lost := commitlog.Loss{First: last.Faults[0].First, Last: cfg.From}
	if err := commitlog.AcceptLoss(cfg, last.Name, lost); err != nil {
		t.Fatal(err)
	}
	l, _ := mustOpen(t, cfg)
	defer mustClose(t, l)
	if got, want := l.NextLSN(), cfg.From+1; got != want || len(l.Segments()) == 0 {
		t.Errorf("%d segments, the log goes on at %d, want some and %d", len(l.Segments()), got, want)
	}
}

// TestWordsOfDamage says of damage what is known of it, and no more.
func TestWordsOfDamage(t *testing.T) {
	for want, e := range map[string]commitlog.CorruptError{
		"dir/MANIFEST: corrupt":                                {Segment: "dir/MANIFEST"},
		"segment a.seg, bytes 7 to 9, records 3 to 5: corrupt": {Segment: "a.seg", From: 7, To: 9, First: 3, Last: 5},
		"segment a.seg, records from 3 on: corrupt":            {Segment: "a.seg", First: 3},
		"segment a.seg, bytes 0 to 64, no record: corrupt":     {Segment: "a.seg", To: 64, First: 3, Last: 2},
	} {
		if e.Err = errors.New("corrupt"); e.Error() != want {
			t.Errorf("got  %s\nwant %s", e.Error(), want)
		}
	}
}

// TestReadNamesTheDamagedFile rots a frame of an open log: who reads it is told where.
func TestReadNamesTheDamagedFile(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, _ := mustOpen(t, config(fs))
	fill(t, l, 60)
	mustClose(t, l)
	l, _ = mustOpen(t, config(fs))
	defer mustClose(t, l)
	path := "data/log/00000000000000000001.seg"
	p := readFile(t, fs, path)
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{p[150] ^ 1}, 150)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(1); !errors.Is(err, record.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want ErrCorrupt and %s named", err, path)
	}
}
