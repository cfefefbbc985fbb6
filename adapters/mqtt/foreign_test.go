package mqtt_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// A message that was published over another protocol gets a topic and MQTT
// properties on its way out; one whose key is no topic name is left out.
func TestMessagesOfAnotherProtocol(t *testing.T) {
	w := newWorld(t)
	old, _ := w.connect(connect{clean: true, id: "old"})
	old.subscribed(1, "a/+", 1, 1)
	c, _ := w.connect(connect{v5: true, clean: true, id: "new"})
	c.subscribed(1, "#", 1, 1)
	p, err := w.broker.NewPublisher("/", nil, nil)
	w.must(err)
	defer p.Close()
	for _, key := range []string{"+", "", "a.b/c"} {
		_, err = p.Publish(&core.Message{
			Format: core.FormatAMQP, Exchange: []byte(core.TopicExchange), Key: []byte(key), QoS: 1, Payload: []byte("x"),
			ExpireAt: time.Now().Add(10 * time.Second).UnixMilli(),
		})
		w.must(err)
	}
	old.expect("3.1.1", old.publish(2, 1, "a/b.c", "x"))
	first := c.read()
	want := c.publish(2, uint16(first.body[8]), "a/b.c", "x", []byte{0x02, 0, 0, 0, 10}, []byte{0x03, 0, 1, 't'}, user("x-message-id", "m"))
	if got := raw(first.kind<<4|first.flags, first.body); string(got) != string(want) {
		t.Errorf("got %x, want %x", got, want)
	}
	c.silent("illegal topics")
}
