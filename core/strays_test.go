package core_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/segment"
)

// giveUpFirstFrame damages the first records of the log of a closed world's shard 0,
// accepts their loss, and takes the indexes away.
func (w *world) giveUpFirstFrame() {
	w.t.Helper()
	shards, err := core.ReadLayout(w.fs, "data")
	w.must(err)
	cfg := commitlog.Config{FS: w.fs, Dir: shards[0].Log, Identity: shards[0].Identity}
	r, err := commitlog.Verify(cfg, nil)
	w.must(err)
	path := w.fs.PathJoin(cfg.Dir, r.Segments[0].Name)
	f, err := w.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	w.must(err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, segment.HeaderSize+20)
	w.must(err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, segment.HeaderSize+20)
	w.must(err)
	w.must(f.Close())
	r, err = commitlog.Verify(cfg, nil)
	w.must(err)
	fault := r.Segments[0].Faults[0]
	w.must(commitlog.AcceptLoss(cfg, r.Segments[0].Name, commitlog.Loss{First: fault.First, Last: fault.Last}))
	w.loseIndex()
}

// TestQueueWhoseCreationIsLostHasItsMessages gives the record that made a queue up,
// and loses the index: the metadata knows the queue, and the log its messages.
func TestQueueWhoseCreationIsLostHasItsMessages(t *testing.T) {
	for name, args := range map[string]map[string]any{"queue": nil, "stream": {"x-queue-type": "stream"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, 1, calm)
			_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "q", Durable: true, Args: args})
			w.must(err)
			p := w.publisher(nil)
			p.send(amqp("", "q", "lost")) // with the creation or alone
			p.confirmed()
			for _, body := range []string{"a", "b", "c"} {
				p.send(amqp("", "q", body))
				p.confirmed()
			}
			w.must(w.Close())
			w.must(w.cat.Close())
			w.giveUpFirstFrame()
			w.open()
			st, err := w.CheckQueue("/", "q", "")
			w.must(err)
			if st.Ready < 3 || st.Ready > 4 {
				t.Fatalf("the queue has %d messages, want a, b and c", st.Ready)
			}
			if args != nil {
				return
			}
			c, wake := w.consume("q")
			got := w.take(c, wake, int(st.Ready))
			want(t, got[len(got)-3:], "a!", "b!", "c!")
		})
	}
}
