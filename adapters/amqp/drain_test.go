package amqp_test

import (
	"context"
	"testing"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// untilClose reads methods up to connection.close, skips contents, and has each delivery
// acknowledged if ack is set. It returns how many deliveries came and were acknowledged.
func (r *raw) untilClose(ack bool) (deliveries, acked int, reply *wire.ConnectionClose) {
	r.t.Helper()
	for {
		f, err := r.read()
		if err != nil {
			r.t.Fatalf("read: %v, want connection.close", err)
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		id, args, err := wire.SplitMethod(f.Payload)
		if err != nil {
			r.t.Fatal(err)
		}
		m, err := wire.ParseMethod(id, args)
		if err != nil {
			r.t.Fatal(err)
		}
		switch m := m.(type) {
		case *wire.BasicDeliver:
			deliveries++
			if ack {
				r.send(1, &wire.BasicAck{DeliveryTag: m.DeliveryTag})
				acked++
			}
		case *wire.ConnectionClose:
			return deliveries, acked, m
		default:
			r.t.Fatalf("got %v", m.ID())
		}
	}
}

// TestShutdownTakesAcknowledgements stops the server under a consumer that has deliveries:
// what it acknowledges then is done, and connection.close follows.
func TestShutdownTakesAcknowledgements(t *testing.T) {
	h := newHarness(t)
	h.grace.Store(int64(time.Minute))
	r := h.dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q", Durable: true})
	expect[*wire.QueueDeclareOK](r)
	const messages = 5
	ch := openChannel(t, h.connect())
	for range messages {
		publish(t, ch, "q", "x")
	}
	h.ready(t, "q", messages)
	r.send(1, &wire.BasicQos{PrefetchCount: 2})
	expect[*wire.BasicQosOK](r)
	r.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOK](r)
	first := expect[*wire.BasicDeliver](r)
	h.stop()
	r.send(1, &wire.BasicAck{DeliveryTag: first.DeliveryTag})
	_, acked, reply := r.untilClose(true)
	if reply.ReplyCode != 320 {
		t.Errorf("got %d %s, want 320", reply.ReplyCode, reply.ReplyText)
	}
	if acked == 0 {
		t.Error("the other delivery of the window did not come")
	}
	r.send(0, &wire.ConnectionCloseOK{})
	r.expectEOF()
	h.ready(t, "q", messages-1-acked)
}

// TestShutdownOfAConsumerThatIsSilent has it told after its grace.
func TestShutdownOfAConsumerThatIsSilent(t *testing.T) {
	h := newHarness(t)
	h.grace.Store(int64(10 * time.Millisecond))
	r := h.dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q", Durable: true})
	expect[*wire.QueueDeclareOK](r)
	publish(t, openChannel(t, h.connect()), "q", "x")
	r.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOK](r)
	expect[*wire.BasicDeliver](r)
	h.stop()
	if _, _, reply := r.untilClose(false); reply.ReplyCode != 320 {
		t.Errorf("got %d %s, want 320", reply.ReplyCode, reply.ReplyText)
	}
	r.send(0, &wire.ConnectionCloseOK{})
	r.expectEOF()
	h.ready(t, "q", 1)
}

// TestShutdownBeforeTheLogin ends a connection that has not logged in at once.
func TestShutdownBeforeTheLogin(t *testing.T) {
	h := newHarness(t)
	h.grace.Store(int64(time.Hour))
	r := h.dial()
	r.write([]byte(wire.Protocol))
	expect[*wire.ConnectionStart](r)
	h.stop()
	r.expectEOF()
}

// ready waits until the queue has n messages that wait.
func (h *harness) ready(t *testing.T, queue string, n int) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		st, err := h.broker.CheckQueue("/", queue, "")
		if err != nil {
			t.Fatal(err)
		}
		if st.Ready == uint64(n) && st.Unsettled == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("queue %s: %d messages wait and %d are unsettled, want %d", queue, st.Ready, st.Unsettled, n)
		}
	}
}
