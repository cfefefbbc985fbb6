package core_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// TestNobodyForgesWhatTheBrokerTells publishes to a topic of the broker's own, as an
// AMQP client can: a queue gets it, a subscription does not.
func TestNobodyForgesWhatTheBrokerTells(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		w.queue("q")
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "#"}))
		s, wake, _ := w.session("monitor", time.Hour, true)
		w.subscribe(s, "$SYS/#", "a")
		p := w.publisher(nil)
		p.send(amqp(core.TopicExchange, "$SYS.broker.uptime", "forged"))
		p.send(amqp(core.TopicExchange, "a", "own"))
		p.confirmed()
		want(t, w.take(s, wake, 1), "own")
		c, woken := w.consume("q")
		want(t, w.take(c, woken, 2), "forged", "own")
	})
}
