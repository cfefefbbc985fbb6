package amqp_test

import (
	"strconv"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

const replyTo = "amq.rabbitmq.reply-to"

// TestDirectReplies has requesters on several channels of two connections ask one
// responder on a third: each gets the answers to its own questions alone.
func TestDirectReplies(t *testing.T) {
	h := newHarness(t)
	responder := openChannel(t, h.connect())
	if _, err := responder.QueueDeclare("questions", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	questions, err := responder.Consume("questions", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	const each, requesters = 50, 6
	go func() {
		defer close(answered)
		for range each * requesters {
			q := <-questions
			if !strings.HasPrefix(q.ReplyTo, replyTo+".") || len(q.ReplyTo) < len(replyTo)+20 {
				t.Errorf("reply-to of the question: got %q", q.ReplyTo)
			}
			if err := responder.PublishWithContext(t.Context(), "", q.ReplyTo, true, false, amqp091.Publishing{
				CorrelationId: q.CorrelationId, Body: append([]byte("re: "), q.Body...), Headers: amqp091.Table{"n": int32(1)},
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	conns := []*amqp091.Connection{h.connect(), h.connect()}
	replies := make([]<-chan amqp091.Delivery, requesters)
	for i := range replies {
		ch := openChannel(t, conns[i%2])
		if replies[i], err = ch.Consume(replyTo, "r"+strconv.Itoa(i), true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		for n := range each {
			id := strconv.Itoa(i) + "/" + strconv.Itoa(n)
			if err := ch.PublishWithContext(t.Context(), "", "questions", false, false, amqp091.Publishing{
				ReplyTo: replyTo, CorrelationId: id, Body: []byte(id),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, list := range replies {
		for n := range each {
			d := receive(t, list)
			id := strconv.Itoa(i) + "/" + strconv.Itoa(n)
			if d.CorrelationId != id || string(d.Body) != "re: "+id || d.Headers["n"] != int32(1) || d.Exchange != "" ||
				!strings.HasPrefix(d.RoutingKey, replyTo+".") || d.DeliveryTag != uint64(n+1) || d.ConsumerTag != "r"+strconv.Itoa(i) {
				t.Fatalf("reply %s: got %+v", id, d)
			}
		}
	}
	<-answered
}

// TestRepliesEndWithTheirChannel declares an address while its requester is there
// and after it has gone, and publishes to it.
func TestRepliesEndWithTheirChannel(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	requester, responder := openChannel(t, conn), openChannel(t, h.connect())
	if _, err := responder.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := requester.Consume(replyTo, "", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := requester.PublishWithContext(t.Context(), "", "q", false, false, amqp091.Publishing{ReplyTo: replyTo}); err != nil {
		t.Fatal(err)
	}
	questions, err := responder.Consume("q", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	address := receive(t, questions).ReplyTo
	q, err := responder.QueueDeclarePassive(address, false, false, false, false, nil)
	if err != nil || q.Consumers != 1 || q.Messages != 0 {
		t.Fatalf("declare of an address: got %+v, %v", q, err)
	}
	if err := responder.Confirm(false); err != nil {
		t.Fatal(err)
	}
	returns := responder.NotifyReturn(make(chan amqp091.Return, 1))
	answer := func() {
		t.Helper()
		c, err := responder.PublishWithDeferredConfirm("", address, true, false, amqp091.Publishing{Body: []byte("late")})
		if err != nil || !c.Wait() {
			t.Fatalf("answer: %v", err)
		}
	}
	answer()
	if len(returns) > 0 {
		t.Fatalf("an answer to a requester that is there came back: %+v", <-returns)
	}
	if err := requester.Close(); err != nil {
		t.Fatal(err)
	}
	answer()
	if r := <-returns; r.ReplyCode != 312 || string(r.Body) != "late" {
		t.Errorf("answer to who is gone: got %+v", r)
	}
	if _, err := responder.QueueDeclarePassive(address, false, false, false, false, nil); err == nil ||
		!strings.Contains(err.Error(), "NOT_FOUND - no queue '"+address+"'") {
		t.Errorf("declare of an address that is gone: got %v", err)
	}
}

// TestRepliesAreBounded answers a requester that does not read: what waits for it is
// bounded, and the rest comes back as not deliverable.
func TestRepliesAreBounded(t *testing.T) {
	h := newHarness(t)
	requester := h.dial()
	requester.login("guest")
	requester.write(encode(t, strings.Fields("1 basic.consume Queue="+replyTo+" NoAck ConsumerTag=r")))
	requester.describe()
	requester.write(encode(t, strings.Fields("1 queue.declare Queue=q")))
	requester.describe()
	requester.write(encode(t, strings.Fields("1 basic.publish RoutingKey=q")))
	requester.write(encode(t, strings.Fields("1 content reply="+replyTo)))
	responder := openChannel(t, h.connect())
	questions, err := responder.Consume("q", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	address := receive(t, questions).ReplyTo
	returns := responder.NotifyReturn(make(chan amqp091.Return, 1000))
	body := make([]byte, 1<<20)
	const answers = 64
	for range answers {
		if err := responder.PublishWithContext(t.Context(), "", address, true, false, amqp091.Publishing{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := responder.QueueDeclarePassive("q", false, false, false, false, nil); err != nil { // all were taken
		t.Fatal(err)
	}
	if n := len(returns); n < 16 || n > answers-16 {
		t.Errorf("%d of %d answers of 1 MiB came back", n, answers)
	}
}
