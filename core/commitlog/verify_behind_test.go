package commitlog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestVerifySeesTheNewestSegmentMissing removes the segment behind all that the
// manifest lists, of which the checkpoint has seen records.
func TestVerifySeesTheNewestSegmentMissing(t *testing.T) {
	fs, _, _ := mixed(t)
	cfg := config(fs)
	l, _ := mustOpen(t, cfg)
	fill(t, l, 4)
	cfg.From = l.NextLSN() - 1
	all := l.Segments()
	if _, err := l.Rewrite(t.Context(), []record.LSN{all[len(all)-2].Base}, messages(everyThird)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	newest := ""
	for _, path := range segments(t, fs) {
		if strings.HasSuffix(path, ".seg") {
			newest = max(newest, path)
		}
	}
	if err := fs.Remove(newest); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openAll(cfg); !errors.Is(err, commitlog.ErrBehind) {
		t.Fatalf("Open: got %v, want ErrBehind", err)
	}
	r, err := commitlog.Verify(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	faults := 0
	for _, s := range r.Segments {
		faults += len(s.Faults)
	}
	if faults == 0 {
		t.Fatal("Open refuses the log, and Verify finds it sound")
	}
	last := r.Segments[len(r.Segments)-1]
	f := last.Faults[len(last.Faults)-1]
	if f.Last != cfg.From {
		t.Errorf("the fault ends at %d, want the checkpoint at %d", f.Last, cfg.From)
	}
	if err := commitlog.AcceptLoss(cfg, last.Name, commitlog.Loss{First: f.First, Last: f.Last}); err != nil {
		t.Fatal(err)
	}
	l, _, err = openAll(cfg)
	if err != nil {
		t.Fatalf("Open once the loss is accepted: %v", err)
	}
	defer mustClose(t, l)
	if got, want := l.NextLSN(), cfg.From+1; got != want {
		t.Errorf("the log goes on at %d, want %d", got, want)
	}
}
