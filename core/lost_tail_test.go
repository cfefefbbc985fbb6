package core_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
)

// TestLostTailIsNoMessage cuts the end of a log behind which its index is, and accepts
// the loss: what is gone does not count as waiting from the next start on, nor later.
func TestLostTailIsNoMessage(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("q")
	w.queue("other")
	s, _, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a/b")
	w.must(s.Close(t.Context()))
	send := func(from, to int) {
		p := w.publisher(nil)
		for i := from; i < to; i++ {
			p.send(amqp("", "q", strconv.Itoa(i)))
			if i%10 == 0 {
				p.send(amqp("", "other", strconv.Itoa(i)))
				p.send(mqtt("a/b", strconv.Itoa(i), 1))
			}
		}
		p.confirmed()
	}
	send(0, 600)
	w.close()
	older := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	w.open()
	for range 5 {
		d, g, _, _, err := w.Get(t.Context(), "/", "q", "", false)
		w.must(err)
		g.Settle(core.Ack, d.Position)
	}
	send(600, 1000)
	w.close() // its index has all
	w.must(w.fs.RemoveAll("data/shard-0"))
	_, err := vfs.Clone(older, w.fs, "data/shard-0", "data/shard-0")
	w.must(err)

	w.openCatalog()
	if err := w.refusal(); !errors.Is(err, commitlog.ErrBehind) {
		t.Fatalf("start: got %v, want ErrBehind", err)
	}
	layout, err := core.ReadLayout(w.fs, "data")
	w.must(err)
	info, err := index.Inspect(w.fs, layout[0].Index, layout[0].Identity)
	w.must(err)
	cfg := commitlog.Config{FS: w.fs, Dir: layout[0].Log, Identity: layout[0].Identity, From: info.Applied}
	r, err := commitlog.Verify(cfg, nil)
	w.must(err)
	last := r.Segments[len(r.Segments)-1]
	fault := last.Faults[len(last.Faults)-1]
	w.must(commitlog.AcceptLoss(cfg, last.Name, commitlog.Loss{First: fault.First, Last: fault.Last}))
	w.must(w.cat.Close())

	for range 2 { // a start that settles, and one on what that has left
		w.open()
		if q, o := w.ready("q"), w.ready("other"); q != 600-5 || o != 60 {
			t.Errorf("%d and %d messages wait, want 595 and 60", q, o)
		}
		w.must(w.Close())
		w.must(w.cat.Close())
	}
	w.open()
	send(1000, 1002)
	got := w.drain("q")
	if n := len(got); n != 597 || !slices.Equal(got[n-2:], []string{"1000", "1001"}) {
		t.Errorf("%d messages, the last %v", n, got[max(0, n-2):])
	}
	s, wake, _ := w.session("dev", time.Hour, false)
	if all := w.take(s, wake, 61); string(all[60].Message.Payload) != "1000" {
		t.Errorf("the session's last: %s", all[60].Message.Payload)
	}
}
