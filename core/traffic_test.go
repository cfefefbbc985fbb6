package core_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core"
)

// TestTraffic sends messages all ways and looks what the queue, the exchange and the
// namespace have counted.
func TestTraffic(t *testing.T) {
	w := newWorld(t, 1)
	began := time.Now().Add(-time.Second)
	w.queue("q")
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "x", Type: "fanout", Durable: true}))
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "x", Dest: "q"}))
	p := w.publisher(nil)
	for range 4 {
		p.send(amqp("x", "", "m"))
	}
	p.send(amqp("", "q", "m"))
	p.send(amqp("", "nowhere", "m"))
	p.confirmed()
	p.p.Confirmed(6)
	p.p.Returned()

	c, wake := w.consume("q", core.NewLimit(3))
	got := w.take(c, wake, 3)
	c.Settle(core.Ack, got[0].Position, got[1].Position)
	c.Settle(core.Discard, got[2].Position)
	more := w.take(c, wake, 2)
	c.Settle(core.Requeue, more[0].Position)
	again := w.take(c, wake, 1)
	tx := p.p.Begin()
	w.must(tx.Settle(c, core.Ack, again[0].Position))
	last := amqp("x", "", "m")
	_, err := tx.Publish(&last)
	w.must(err)
	w.must(tx.Commit())
	w.must(c.Cancel(t.Context()))
	for _, noAck := range []bool{true, false} {
		_, _, _, _, err := w.Get(t.Context(), "/", "q", "", noAck)
		w.must(err)
	}

	queue := core.Traffic{Published: 6, Delivered: 6, GotNoAck: 1, GotEmpty: 1, Redelivered: 1, Acked: 3}
	info, err := w.Queue("/", "q")
	w.must(err)
	unused := cmpopts.IgnoreFields(core.Traffic{}, "Used")
	if diff := cmp.Diff(queue, info.Traffic, unused); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
	if used := info.Traffic.Used; used.Before(began) || used.After(time.Now().Add(time.Second)) {
		t.Errorf("used: got %v, want now", used)
	}
	exchange, err := w.ExchangeTraffic("/", "x")
	w.must(err)
	if diff := cmp.Diff(core.Traffic{Published: 5, Routed: 5}, exchange); diff != "" {
		t.Errorf("exchange (-want +got):\n%s", diff)
	}
	all := queue
	all.Published, all.Unroutable, all.Returned, all.Confirmed = 7, 1, 1, 6
	ns, err := w.NamespaceTraffic("/")
	w.must(err)
	if diff := cmp.Diff(all, ns, unused); diff != "" {
		t.Errorf("namespace (-want +got):\n%s", diff)
	}
	if st := w.Stats(); st.Published != 7 || st.Unroutable != 1 {
		t.Errorf("broker: got %d published, %d unroutable, want 7 and 1", st.Published, st.Unroutable)
	}

	w.restart() // what is replayed did not come again
	info, err = w.Queue("/", "q")
	w.must(err)
	if diff := cmp.Diff(core.Traffic{}, info.Traffic); diff != "" {
		t.Errorf("queue after a restart (-want +got):\n%s", diff)
	}
}
