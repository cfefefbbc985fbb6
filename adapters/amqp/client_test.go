package amqp_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

func (h *harness) connect() *amqp091.Connection {
	h.t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + h.addr + "/")
	if err != nil {
		h.t.Fatalf("dial: %v", err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func openChannel(t *testing.T, conn *amqp091.Connection) *amqp091.Channel {
	t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("channel: %v", err)
	}
	return ch
}

func receive(t *testing.T, deliveries <-chan amqp091.Delivery) amqp091.Delivery {
	t.Helper()
	select {
	case d, ok := <-deliveries:
		if !ok {
			t.Fatal("deliveries ended")
		}
		return d
	case <-time.After(time.Minute):
		t.Fatal("no delivery")
	}
	return amqp091.Delivery{}
}

func TestPublishConfirmConsume(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	ch := openChannel(t, conn)
	if err := ch.Confirm(false); err != nil {
		t.Fatalf("confirm: %v", err)
	}
	q, err := ch.QueueDeclare("orders", true, false, false, false, nil)
	if err != nil {
		t.Fatalf("declare: %v", err)
	}
	if err := ch.QueueBind(q.Name, "orders.*", "amq.topic", false, nil); err != nil {
		t.Fatalf("bind: %v", err)
	}
	bodies := make([][]byte, 1000)
	var last *amqp091.DeferredConfirmation
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, "order %d", i)
		switch i {
		case 500:
			bodies[i] = bytes.Repeat([]byte{7}, 1<<20) // in many frames
		case 501:
			bodies[i] = nil
		}
		last, err = ch.PublishWithDeferredConfirm("amq.topic", "orders.new", false, false, amqp091.Publishing{
			DeliveryMode: amqp091.Persistent, Body: bodies[i], Headers: amqp091.Table{"n": int32(i)}, MessageId: "m",
		})
		if err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	if !last.Wait() {
		t.Fatal("publish was refused")
	}
	if err := ch.Qos(100, 0, false); err != nil {
		t.Fatalf("qos: %v", err)
	}
	deliveries, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume: %v", err)
	}
	for i, body := range bodies {
		d := receive(t, deliveries)
		if !bytes.Equal(d.Body, body) || d.Headers["n"] != int32(i) || d.MessageId != "m" ||
			d.Exchange != "amq.topic" || d.RoutingKey != "orders.new" || d.Redelivered || d.DeliveryTag != uint64(i+1) {
			t.Fatalf("delivery %d: got %d bytes, tag %d, %v", i, len(d.Body), d.DeliveryTag, d.Headers)
		}
		if i%3 == 2 {
			if err := d.Ack(true); err != nil {
				t.Fatalf("ack: %v", err)
			}
		}
	}
	// One is left without an ack; it comes again on another connection.
	_ = conn.Close()
	ch = openChannel(t, h.connect())
	d, ok, err := ch.Get(q.Name, false)
	if err != nil || !ok || !d.Redelivered || string(d.Body) != "order 999" {
		t.Fatalf("get: got %v %q redelivered %v, %v", ok, d.Body, d.Redelivered, err)
	}
	if err := d.Ack(false); err != nil {
		t.Fatalf("ack: %v", err)
	}
	if _, ok, err := ch.Get(q.Name, false); ok || err != nil {
		t.Fatalf("get: got %v, %v, want an empty queue", ok, err)
	}
}

func TestReturnComesBeforeConfirm(t *testing.T) {
	h := newHarness(t)
	ch := openChannel(t, h.connect())
	returns := ch.NotifyReturn(make(chan amqp091.Return, 100))
	if err := ch.Confirm(false); err != nil {
		t.Fatalf("confirm: %v", err)
	}
	for i := range 100 {
		c, err := ch.PublishWithDeferredConfirm("amq.direct", "nobody", true, false, amqp091.Publishing{Body: []byte("x")})
		if err != nil {
			t.Fatalf("publish: %v", err)
		}
		if !c.Wait() {
			t.Fatal("publish was refused")
		}
		if len(returns) != i+1 {
			t.Fatalf("confirm %d came before its return", i)
		}
	}
	r := <-returns
	if r.ReplyCode != 312 || r.ReplyText != "NO_ROUTE" || r.RoutingKey != "nobody" || string(r.Body) != "x" {
		t.Fatalf("return: got %+v", r)
	}
}

func TestRequeueKeepsThePlace(t *testing.T) {
	h := newHarness(t)
	ch := openChannel(t, h.connect())
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatalf("declare: %v", err)
	}
	for i := range 5 {
		if err := ch.Publish("", q.Name, false, false, amqp091.Publishing{Body: []byte{byte(i)}}); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	if err := ch.Qos(3, 0, true); err != nil {
		t.Fatalf("qos: %v", err)
	}
	deliveries, err := ch.Consume(q.Name, "c", false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume: %v", err)
	}
	for i := range 3 {
		if d := receive(t, deliveries); d.Body[0] != byte(i) {
			t.Fatalf("got %d, want %d", d.Body[0], i)
		}
	}
	if err := ch.Cancel("c", false); err != nil {
		t.Fatalf("cancel: %v", err)
	}
	if err := ch.Nack(2, false, true); err != nil {
		t.Fatalf("nack: %v", err)
	}
	if err := ch.Ack(1, false); err != nil {
		t.Fatalf("ack: %v", err)
	}
	d, ok, err := ch.Get(q.Name, true)
	if err != nil || !ok || d.Body[0] != 1 || !d.Redelivered || d.MessageCount != 2 {
		t.Fatalf("get: got %v %v redelivered %v, %d left, %v", ok, d.Body, d.Redelivered, d.MessageCount, err)
	}
}

func TestQueueDeletionCancelsConsumers(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	ch := openChannel(t, conn)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatalf("declare: %v", err)
	}
	deliveries, err := ch.Consume("q", "c", false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume: %v", err)
	}
	cancelled := ch.NotifyCancel(make(chan string, 1))
	if _, err := openChannel(t, conn).QueueDelete("q", false, false, false); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if tag := <-cancelled; tag != "c" {
		t.Fatalf("cancelled: got %q", tag)
	}
	for range deliveries {
		t.Error("delivery after the cancel")
	}
}

func TestExclusiveAndAutoDelete(t *testing.T) {
	h := newHarness(t)
	first := h.connect()
	ch := openChannel(t, first)
	if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
		t.Fatalf("declare: %v", err)
	}
	if _, err := ch.QueueDeclare("auto", true, true, false, false, nil); err != nil {
		t.Fatalf("declare: %v", err)
	}
	if _, err := ch.Consume("auto", "c", true, false, false, false, nil); err != nil {
		t.Fatalf("consume: %v", err)
	}
	second := h.connect()
	_, err := openChannel(t, second).QueueDeclarePassive("mine", false, false, true, false, nil)
	if e, ok := errors.AsType[*amqp091.Error](err); !ok || e.Code != 405 {
		t.Fatalf("passive declare of another's queue: got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	for _, name := range []string{"mine", "auto"} {
		_, err := openChannel(t, second).QueueDeclarePassive(name, false, false, false, false, nil)
		if e, ok := errors.AsType[*amqp091.Error](err); !ok || e.Code != 404 {
			t.Fatalf("passive declare of %s: got %v", name, err)
		}
	}
}

// TestCapabilities: clients look here before they use a feature.
func TestCapabilities(t *testing.T) {
	conn := newHarness(t).connect()
	got, ok := conn.Properties["capabilities"].(amqp091.Table)
	if !ok {
		t.Fatalf("server properties: %v", conn.Properties)
	}
	want := amqp091.Table{}
	for _, name := range []string{
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
		"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
	} {
		want[name] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
}
