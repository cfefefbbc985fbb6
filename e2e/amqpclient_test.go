package e2e

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpURL is the address of a broker with the default login.
func amqpURL(addr string) string { return "amqp://guest:guest@" + addr + "/" }

// dialAMQP opens a connection that is closed when the test ends.
func dialAMQP(t *testing.T, addr string) *amqp.Connection {
	t.Helper()
	conn, err := amqp.Dial(amqpURL(addr))
	if err != nil {
		t.Fatalf("dial AMQP: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// openChannel opens a channel on a connection of its own.
func openChannel(t *testing.T, addr string) *amqp.Channel {
	t.Helper()
	return channelOn(t, dialAMQP(t, addr))
}

// channelOn opens a channel on a connection.
func channelOn(t *testing.T, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("open channel: %v", err)
	}
	return ch
}

// durableQueue declares a durable queue, bound to amq.topic by each key.
func durableQueue(t *testing.T, ch *amqp.Channel, name string, keys ...string) {
	t.Helper()
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatalf("declare queue %s: %v", name, err)
	}
	for _, key := range keys {
		if err := ch.QueueBind(name, key, "amq.topic", false, nil); err != nil {
			t.Fatalf("bind queue %s by %s: %v", name, key, err)
		}
	}
}

// consumeQueue starts a consumer with manual acknowledgement.
func consumeQueue(t *testing.T, ch *amqp.Channel, queue string, prefetch int) <-chan amqp.Delivery {
	t.Helper()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		t.Fatalf("set prefetch: %v", err)
	}
	deliveries, err := ch.ConsumeWithContext(t.Context(), queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume %s: %v", queue, err)
	}
	return deliveries
}

// receive takes the next delivery.
func receive(t *testing.T, deliveries <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d, ok := <-deliveries:
		if !ok {
			t.Fatal("the consumer's channel was closed")
		}
		return d
	case <-time.After(patience):
		t.Fatalf("no delivery within %v", patience)
	}
	return amqp.Delivery{}
}

// receiveAcked takes n deliveries and acknowledges each.
func receiveAcked(t *testing.T, deliveries <-chan amqp.Delivery, n int) []amqp.Delivery {
	t.Helper()
	out := make([]amqp.Delivery, 0, n)
	for len(out) < n {
		d := receive(t, deliveries)
		if err := d.Ack(false); err != nil {
			t.Fatalf("ack %d: %v", d.DeliveryTag, err)
		}
		out = append(out, d)
	}
	return out
}

// nothingMore checks that no delivery comes for a moment.
func nothingMore[T any](t *testing.T, from <-chan T) {
	t.Helper()
	select {
	case got, ok := <-from:
		if ok {
			t.Errorf("got one more: %+v", got)
		}
	case <-time.After(150 * time.Millisecond):
	}
}

// publishConfirmed publishes persistent messages in order and waits until all
// are confirmed.
func publishConfirmed(t *testing.T, addr, exchange string, messages []keyed) {
	t.Helper()
	ch := openChannel(t, addr)
	if err := ch.Confirm(false); err != nil {
		t.Fatalf("confirm.select: %v", err)
	}
	confirms := make([]*amqp.DeferredConfirmation, 0, len(messages))
	for _, m := range messages {
		dc, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), exchange, m.key, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: m.body})
		if err != nil {
			t.Fatalf("publish %s: %v", m.key, err)
		}
		confirms = append(confirms, dc)
	}
	ctx := within(t)
	for i, dc := range confirms {
		if ok, err := dc.WaitContext(ctx); err != nil || !ok {
			t.Fatalf("confirm %d of %d: acked %t, %v", i+1, len(confirms), ok, err)
		}
	}
}

// keyed is a message as tests write it down: routing key or topic, and body.
type keyed struct {
	key  string
	body []byte
}

// bodies returns the payloads of deliveries as strings.
func bodies(ds []amqp.Delivery) []string {
	out := make([]string, 0, len(ds))
	for _, d := range ds {
		out = append(out, string(d.Body))
	}
	return out
}
