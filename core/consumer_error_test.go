package core_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
)

// TestReadErrorIsNoReturn has the message that Get takes not be read: it is the next one
// still, nobody has seen it, and the queue does not give it up for that.
func TestReadErrorIsNoReturn(t *testing.T) {
	w := newWorldWith(t, 1, func(cfg *core.Config, d *core.Deps) {
		cfg.TailBytes, cfg.CacheBytes = 0, 0
		cfg.Upkeep.Interval = 0
		letters(cfg, d)
	})
	w.queue("d")
	w.declare("q", with(with(deadTo("", "d"), "x-queue-type", "quorum"), "x-delivery-limit", int64(0)))
	p := w.publisher(nil)
	p.send(amqp("", "q", "one"))
	p.confirmed()
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".seg") {
			return errorfs.ErrInjected
		}
		return nil
	})
	w.fail.Store(&fail)
	for range 2 {
		if d, _, _, ok, err := w.Get(t.Context(), "/", "q", "", false); err == nil {
			t.Fatalf("got %q, %v, want an error", d.Message.Payload, ok)
		}
	}
	w.fail.Store(nil)
	d, g, _, ok, err := w.Get(t.Context(), "/", "q", "", false)
	if w.must(err); !ok || string(d.Message.Payload) != "one" || d.Redelivered || d.Returns != 0 {
		t.Fatalf("got %+v, %v, want the message as it was", d, ok)
	}
	g.Settle(core.Ack, d.Position)
}

// TestReadErrorKeepsTheOrder lets a read fail amid what a consumer takes: what
// it takes afterwards begins with the message that could not be read.
func TestReadErrorKeepsTheOrder(t *testing.T) {
	w := newWorldWith(t, 1, func(cfg *core.Config, _ *core.Deps) {
		cfg.TailBytes, cfg.CacheBytes = 0, 0
		cfg.Upkeep.Interval = 0
	})
	w.queue("orders")
	const n = 100
	p := w.publisher(nil)
	for i := range n {
		body := make([]byte, 500) // nothing that can be compressed
		for j := range body {
			body[j] = byte(w.rng.Uint32())
		}
		p.send(amqp("", "orders", fmt.Sprintf("%03d", i)+string(body)))
		p.confirmed()
	}
	c, woken := w.consume("orders", core.NewLimit(40))
	<-woken
	reads := 0
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileReadAt || !strings.HasSuffix(op.Path, ".seg") {
			return nil
		}
		if reads++; reads%10 == 5 {
			return errorfs.ErrInjected
		}
		return nil
	})
	w.fail.Store(&fail)
	failures := 0
	var got []core.Delivery
	for len(got) < n {
		before := len(got)
		var err error
		if got, err = c.Next(got, 16); err != nil {
			failures++
		}
		for i := before; i < len(got); i++ {
			if want := fmt.Sprintf("%03d", i); string(got[i].Message.Payload[:3]) != want || got[i].Redelivered {
				t.Fatalf("delivery %d is %q, redelivered %v", i, got[i].Message.Payload[:3], got[i].Redelivered)
			}
			c.Settle(core.Ack, got[i].Position)
		}
		if len(got) == before && err == nil {
			<-woken
		}
	}
	w.fail.Store(nil)
	if failures == 0 {
		t.Error("no read has failed")
	}
	w.must(c.Cancel(t.Context()))
}
