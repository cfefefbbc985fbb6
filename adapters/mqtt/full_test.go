package mqtt_test

import (
	"testing"

	"github.com/tidegate/tidegate/core"
)

// A queue that refuses what is too much for it is told of by a reason code where the
// protocol has one, and never by an acknowledgement.
func TestPublishToAFullQueue(t *testing.T) {
	w := newWorld(t)
	_, err := w.broker.DeclareQueue(t.Context(), "/", core.QueueSpec{
		Name: "q", Durable: true, Args: map[string]any{"x-max-length": int64(1), "x-overflow": "reject-publish"},
	})
	w.must(err)
	w.must(w.broker.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "full"}))
	c5, _ := w.connect(connect{v5: true, clean: true, id: "c5"})
	c5.send(c5.publish(2, 1, "full", "taken"))
	c5.expect("PUBACK", ack(0x40, 1))
	c5.send(c5.publish(2, 2, "full", "refused"))
	if p := c5.read(); p.kind != 4 || len(p.body) < 3 || p.body[1] != 2 || p.body[2] != 0x97 {
		t.Errorf("got %v, want PUBACK 2 with reason 0x97", p)
	}
	c3, _ := w.connect(connect{clean: true, id: "c3"})
	for _, c := range []*client{c5, c3} {
		c.send(c.publish(0, 0, "full", "refused, and nobody asks"))
		c.send(ping)
		c.expect("PINGRESP", pong)
	}
	c3.send(c3.publish(2, 1, "full", "refused"))
	c3.closed("publish to a full queue")
	st, err := w.broker.CheckQueue("/", "q", "")
	if w.must(err); st.Ready != 1 {
		t.Errorf("%d messages wait, want 1", st.Ready)
	}
}
