package core_test

import (
	"crypto/rand"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// a purge that finds nothing throws away acks that are not in the log yet.
func TestPurgeOfEmptyQueueForgetsAcks(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 3 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	p.confirmed()
	c, wake := w.consume("q")
	got := w.take(c, wake, 3)
	for _, d := range got {
		c.Settle(core.Ack, d.Position)
	}
	n, err := w.PurgeQueue(t.Context(), "/", "q", "")
	w.must(err)
	if n != 0 {
		t.Fatalf("purged %d", n)
	}
	<-time.After(300 * time.Millisecond) // thirty times AckDelay
	w.must(c.Cancel(t.Context()))
	w.restart() // a clean stop
	st, err := w.CheckQueue("/", "q", "")
	w.must(err)
	if st.Ready != 0 {
		t.Errorf("%d settled messages are back after a clean restart, want 0", st.Ready)
	}
}

// Get and a read error.
func TestGetReadError(t *testing.T) {
	for _, noAck := range []bool{false, true} {
		w := newWorld(t, 1)
		w.must(w.Close())
		cfg := core.DefaultConfig()
		cfg.Shards, cfg.TailBytes, cfg.CacheBytes = 1, 0, 0
		var err error
		w.Broker, err = core.Open(t.Context(), cfg, core.Deps{Dir: "data", FS: w.injected(), Clock: clock.System, Rand: rand.Reader, Catalog: w.cat, Log: slog.New(slog.DiscardHandler)})
		w.must(err)
		w.queue("q")
		p := w.publisher(nil)
		for i := range 3 {
			p.send(amqp("", "q", strconv.Itoa(i)))
			p.confirmed()
		}
		f := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileReadAt {
				return errorfs.ErrInjected
			}
			return nil
		})
		w.fail.Store(&f)
		_, _, _, _, err = w.Get(t.Context(), "/", "q", "", noAck)
		w.fail.Store(nil)
		if err == nil {
			t.Fatal("no error")
		}
		d, _, _, _, err := w.Get(t.Context(), "/", "q", "", noAck)
		w.must(err)
		if string(d.Message.Payload) != "0" {
			st, _ := w.CheckQueue("/", "q", "")
			t.Errorf("noAck=%v: got %q after a failed Get, want 0; status %+v", noAck, d.Message.Payload, st)
		}
	}
}
