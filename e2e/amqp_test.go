package e2e

import (
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// numbered are messages to one queue through the default exchange.
func numbered(queue string, n int) ([]keyed, []string) {
	messages, want := make([]keyed, 0, n), make([]string, 0, n)
	for i := range n {
		body := strconv.Itoa(i + 1)
		messages = append(messages, keyed{queue, []byte(body)})
		want = append(want, body)
	}
	return messages, want
}

// testQueue declares a durable queue of the test's own and deletes it at the
// end.
func testQueue(t *testing.T, b *broker) string {
	t.Helper()
	ch := openChannel(t, b.AMQP)
	name := "e2e." + t.Name()
	durableQueue(t, ch, name)
	t.Cleanup(func() { ch.QueueDelete(name, false, false, false) })
	return name
}

func TestAMQPCompetingConsumers(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		const n = 300
		queue := testQueue(t, b)
		one := consumeQueue(t, openChannel(t, b.AMQP), queue, 5)
		two := consumeQueue(t, openChannel(t, b.AMQP), queue, 5)
		messages, want := numbered(queue, n)
		publishConfirmed(t, b.AMQP, "", messages)

		got, share := map[string]int{}, map[string]int{}
		for range n {
			var d amqp.Delivery
			select {
			case d = <-one:
				share["one"]++
			case d = <-two:
				share["two"]++
			}
			got[string(d.Body)]++
			if err := d.Ack(false); err != nil {
				t.Fatalf("ack: %v", err)
			}
		}
		for _, body := range want {
			if got[body] != 1 {
				t.Errorf("message %s came %d times, want once", body, got[body])
			}
		}
		if share["one"] == 0 || share["two"] == 0 {
			t.Errorf("one consumer starved: %v", share)
		}
		nothingMore(t, one)
		nothingMore(t, two)
	})
}

func TestAMQPRequeueKeepsPlaceAndMarks(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	queue := testQueue(t, b)
	messages, want := numbered(queue, 6)
	publishConfirmed(t, b.AMQP, "", messages)
	deliveries := consumeQueue(t, openChannel(t, b.AMQP), queue, 3)

	held := []amqp.Delivery{receive(t, deliveries), receive(t, deliveries), receive(t, deliveries)}
	for _, d := range held {
		if d.Redelivered {
			t.Errorf("message %s is marked redelivered at first sight", d.Body)
		}
	}
	if err := held[2].Nack(true, true); err != nil { // 1, 2 and 3 go back
		t.Fatal(err)
	}
	got := receiveAcked(t, deliveries, 6)
	if diff := cmp.Diff(want, bodies(got)); diff != "" {
		t.Errorf("order after requeue (-want +got):\n%s", diff)
	}
	for i, d := range got {
		if d.Redelivered != (i < 3) {
			t.Errorf("message %s: redelivered %t, want %t", d.Body, d.Redelivered, i < 3)
		}
	}
}

func TestAMQPConnectionLossRequeues(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		queue := testQueue(t, b)
		messages, want := numbered(queue, 4)
		publishConfirmed(t, b.AMQP, "", messages)
		conn := dialAMQP(t, b.AMQP)
		first := consumeQueue(t, channelOn(t, conn), queue, 0)
		receiveAcked(t, first, 1)
		receive(t, first)
		receive(t, first)
		conn.Close()

		got := receiveAcked(t, consumeQueue(t, openChannel(t, b.AMQP), queue, 0), 3)
		if diff := cmp.Diff(want[1:], bodies(got)); diff != "" {
			t.Errorf("messages after the loss (-want +got):\n%s", diff)
		}
		if !got[0].Redelivered || !got[1].Redelivered {
			t.Errorf("redelivered marks: %t %t, want both", got[0].Redelivered, got[1].Redelivered)
		}
	})
}

func TestAMQPPrefetch(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	queue := testQueue(t, b)
	messages, _ := numbered(queue, 10)
	publishConfirmed(t, b.AMQP, "", messages)
	deliveries := consumeQueue(t, openChannel(t, b.AMQP), queue, 3)
	var last amqp.Delivery
	for range 3 {
		last = receive(t, deliveries)
	}
	nothingMore(t, deliveries)
	if err := last.Ack(true); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		receive(t, deliveries)
	}
	nothingMore(t, deliveries)
}

func TestAMQPExclusiveQueue(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	conn := dialAMQP(t, b.AMQP)
	q, err := channelOn(t, conn).QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatalf("declare: %v", err)
	}
	_, err = openChannel(t, b.AMQP).QueueDeclarePassive(q.Name, false, false, true, false, nil)
	wantCode(t, "another connection's use", err, amqp.ResourceLocked)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = openChannel(t, b.AMQP).QueueDeclarePassive(q.Name, false, false, true, false, nil)
	wantCode(t, "use after the owner has gone", err, amqp.NotFound)
}

func TestAMQPAutoDeleteQueue(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	ch := openChannel(t, b.AMQP)
	q, err := ch.QueueDeclare("e2e.auto", false, true, false, false, nil)
	if err != nil {
		t.Fatalf("declare: %v", err)
	}
	if _, err := ch.Consume(q.Name, "only", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Cancel("only", false); err != nil {
		t.Fatal(err)
	}
	_, err = ch.QueueDeclarePassive(q.Name, false, true, false, false, nil)
	wantCode(t, "use after the last consumer has gone", err, amqp.NotFound)
}

func TestAMQPMandatoryReturnComesBeforeTheConfirm(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	ch := openChannel(t, b.AMQP)
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	err := ch.PublishWithContext(t.Context(), "amq.topic", "nobody.listens", true, false, amqp.Publishing{Body: []byte("lost")})
	if err != nil {
		t.Fatal(err)
	}
	if c := <-confirms; !c.Ack {
		t.Error("an unroutable message was nacked, want ack")
	}
	select {
	case r := <-returns:
		if r.ReplyCode != amqp.NoRoute || r.RoutingKey != "nobody.listens" || string(r.Body) != "lost" {
			t.Errorf("returned %d %s %q", r.ReplyCode, r.RoutingKey, r.Body)
		}
	default:
		t.Error("the confirm came before the return")
	}
}

func TestAMQPPersistentMessagesSurvive(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		queue := testQueue(t, b)
		messages, want := numbered(queue, 50)
		publishConfirmed(t, b.AMQP, "", messages)
		b.restart()
		got := receiveAcked(t, consumeQueue(t, openChannel(t, b.AMQP), queue, 0), 50)
		if diff := cmp.Diff(want, bodies(got)); diff != "" {
			t.Errorf("after kill (-want +got):\n%s", diff)
		}
	})
}

func TestAMQPErrorsCloseTheRightThing(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	for _, c := range []struct {
		name string
		code int
		do   func(ch *amqp.Channel) error
	}{
		{"passive declare of nothing", amqp.NotFound, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive("e2e.nothing", true, false, false, false, nil)
			return err
		}},
		{"reserved name", amqp.AccessRefused, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("amq.mine", true, false, false, false, nil)
			return err
		}},
		{"other properties", amqp.PreconditionFailed, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("amq.topic", "fanout", true, false, false, false, nil)
		}},
		{"bind to nothing", amqp.NotFound, func(ch *amqp.Channel) error {
			return ch.QueueBind("e2e.nothing", "k", "amq.topic", false, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialAMQP(t, b.AMQP)
			wantCode(t, c.name, c.do(channelOn(t, conn)), c.code)
			channelOn(t, conn).Close() // the connection lives on
		})
	}
}

// wantCode checks that an operation failed with a reply code.
func wantCode(t *testing.T, what string, err error, code int) {
	t.Helper()
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Code != code {
		t.Errorf("%s: got %v, want reply code %d", what, err, code)
	}
}
