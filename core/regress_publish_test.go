package core_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// plan keys collide.
func TestPlanKeyCollides(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "a\x00b", Type: "fanout"}))
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "a", Type: "direct"}))
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "a\x00b", Dest: "q"}))
	p := w.publisher(nil)
	p.send(amqp("a\x00b", "c", "x"))
	if got := p.send(amqp("a", "b\x00c", "y")); got.Routed {
		t.Error("routed by the plan of another exchange")
	}
}

// once and QoS 0 subscribers.
func TestOnceLiveTwice(t *testing.T) {
	w := newWorld(t, 1)
	n := 0
	s, _, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
		ClientID: "live", Owner: "guest", Notify: func() {},
		Live: func(*core.Message, []core.SubID) bool { n++; return true },
	})
	w.must(err)
	_, err = s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "a", QoS: 0}})
	w.must(err)
	w.queue("q")
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "a"}))
	dev, _, _ := w.session("dev", time.Hour, false)
	p := w.publisher(dev)
	m := mqtt("a", "0", 2)
	m.Once = core.Once{Session: dev.ID(), ID: 7}
	p.send(m)
	p.send(m)
	if n != 1 {
		t.Errorf("live %d times, want 1", n)
	}
}
