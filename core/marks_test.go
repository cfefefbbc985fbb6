package core_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// TestOlderCopyIsRefused puts older copies of a log and its index back, together, beside
// the newer metadata. Nothing was acknowledged behind them: the published mark alone
// tells how far the log went. The start is refused, again while the metadata is away, and
// goes when the newer copies are back, or the loss is accepted.
func TestOlderCopyIsRefused(t *testing.T) {
	for _, shards := range []int{1, 3} {
		for _, accept := range []bool{false, true} {
			t.Run(fmt.Sprintf("shards=%d accept=%v", shards, accept), func(t *testing.T) {
				w := newWorldWith(t, shards, calm)
				names := map[int]string{}
				for i := 0; len(names) < shards; i++ { // a queue in each shard
					name := fmt.Sprintf("q%d", i)
					w.queue(name)
					q, _ := w.cat.Queue("/", name)
					names[int(q.Shard)] = name
				}
				send := func(body string) {
					p := w.publisher(nil)
					for _, name := range names {
						p.send(amqp("", name, body))
					}
					p.confirmed()
				}
				send("old")
				w.close()
				older := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
				w.open()
				send("new")
				w.close() // publishes
				newer := w.fs
				w.fs = older
				w.openCatalog()
				err := w.refusal()
				if !errors.Is(err, commitlog.ErrBehind) || !strings.Contains(err.Error(), "marks in the metadata tell of LSN") ||
					!strings.Contains(err.Error(), "are missing, with all that was confirmed of them") {
					t.Fatalf("start: got %v, want ErrBehind and what is missing", err)
				}
				w.store.SetAway(true)
				if err := w.refusal(); !errors.Is(err, commitlog.ErrBehind) || !strings.Contains(err.Error(), "REACHED") {
					t.Errorf("start with the metadata away: got %v, want what REACHED tells", err)
				}
				w.store.SetAway(false)
				want := []string{"old", "new"}
				if accept {
					want = want[:1]
					w.acceptReached()
				} else {
					w.fs = newer
				}
				w.must(w.cat.Close())
				w.open()
				for _, name := range names {
					if got := w.drain(name); !slices.Equal(got, want) && (!accept || !slices.Equal(got, []string{"old!"})) {
						t.Errorf("%s: got %v, want %v", name, got, want)
					}
				}
				send("after")
				w.restart()
				for _, name := range names {
					if got := w.drain(name); !slices.Equal(got, []string{"after"}) {
						t.Errorf("%s: got %v, want what came after", name, got)
					}
				}
			})
		}
	}
}

// acceptReached gives up what each log lacks of what REACHED or the marks tell.
func (w *world) acceptReached() {
	w.t.Helper()
	marks, err := w.cat.Marks(w.t.Context())
	w.must(err)
	layout, err := core.ReadLayout(w.fs, "data")
	w.must(err)
	for _, m := range marks {
		files := layout[m.Shard]
		cfg := commitlog.Config{FS: w.fs, Dir: files.Log, Identity: files.Identity, From: record.LSN(m.LSN)}
		r, err := commitlog.Verify(cfg, nil)
		w.must(err)
		last := r.Segments[len(r.Segments)-1]
		fault := last.Faults[len(last.Faults)-1]
		w.must(commitlog.AcceptLoss(cfg, last.Name, commitlog.Loss{First: fault.First, Last: fault.Last}))
	}
}
