package core_test

import (
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// offsets are not published by Close.
func TestCloseDoesNotPublishOffsets(t *testing.T) {
	w := newWorld(t, 1)
	w.must(w.Close())
	cfg := core.DefaultConfig()
	cfg.Shards, cfg.OffsetInterval = 1, time.Hour
	var err error
	w.Broker, err = core.Open(t.Context(), cfg, core.Deps{Dir: "data", FS: w.injected(), Clock: clock.System, Rand: rand.Reader, Catalog: w.cat, Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	w.queue("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "0"))
	c, wake := w.consume("q")
	c.Settle(core.Ack, w.take(c, wake, 1)[0].Position)
	w.must(w.Close())
	offsets, err := w.cat.Offsets(t.Context())
	w.must(err)
	if len(offsets) != 1 {
		t.Errorf("Close published %d offsets, want 1", len(offsets))
	}
}

// the published cursor of a session that left stays.
func TestPublishedCursorStays(t *testing.T) {
	w := newWorld(t, 1)
	keep, _, _ := w.session("keep", time.Hour, false)
	w.subscribe(keep, "a")
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	p := w.publisher(nil)
	p.send(mqtt("a", "0", 1))
	p.confirmed()
	s.Settle(w.take(s, wake, 1)[0].Position)
	has := func() bool {
		offsets, err := w.cat.Offsets(t.Context())
		w.must(err)
		for _, o := range offsets {
			if o.Cursor == s.ID() {
				return true
			}
		}
		return false
	}
	for !has() {
		<-time.After(5 * time.Millisecond)
	}
	w.must(s.Close(t.Context()))
	_, _, _ = w.session("dev", 0, true)
	deadline := time.Now().Add(20 * time.Second)
	for has() {
		if time.Now().After(deadline) {
			t.Fatal("the cursor of an ended session is still published")
		}
		<-time.After(5 * time.Millisecond)
	}
}
