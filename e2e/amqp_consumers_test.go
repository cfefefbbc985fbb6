package e2e

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// consumeWith consumes with arguments and a prefetch limit.
func consumeWith(t *testing.T, ch *amqp.Channel, queue string, prefetch int, args amqp.Table) <-chan amqp.Delivery {
	t.Helper()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, args)
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

func TestAMQPConsumerPriorities(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	queue := testQueue(t, b)
	low := consumeWith(t, openChannel(t, b.AMQP), queue, 10, amqp.Table{"x-priority": int32(1)})
	high := consumeWith(t, openChannel(t, b.AMQP), queue, 3, amqp.Table{"x-priority": int32(9)})
	messages, want := numbered(queue, 4)
	publishConfirmed(t, b.AMQP, "", messages)
	var got []string
	for range 3 {
		got = append(got, string(receive(t, high).Body))
	}
	got = append(got, string(receive(t, low).Body))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages to the higher priority, then the lower (-want +got):\n%s", diff)
	}
	nothingMore(t, high)
	nothingMore(t, low)
}

// A single active consumer is followed by the next, over the loss of its
// connection and over a kill of the broker, and no message is lost or overtaken.
func TestAMQPSingleActiveConsumer(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		queue := "e2e." + t.Name()
		_, err := openChannel(t, b.AMQP).QueueDeclare(queue, true, false, false, false,
			amqp.Table{"x-single-active-consumer": true})
		if err != nil {
			t.Fatal(err)
		}
		messages, _ := numbered(queue, 9)
		publishConfirmed(t, b.AMQP, "", messages)
		first, second := dialAMQP(t, b.AMQP), dialAMQP(t, b.AMQP)
		active := consumeQueue(t, channelOn(t, first), queue, 4)
		waiting := consumeQueue(t, channelOn(t, second), queue, 4)
		receiveAcked(t, active, 3)
		nothingMore(t, waiting)
		first.Close()
		for i, d := range receiveAcked(t, waiting, 3) {
			if want := strconv.Itoa(i + 4); string(d.Body) != want {
				t.Errorf("the next consumer got %s, want %s", d.Body, want)
			}
		}
		b.restart()
		active = consumeQueue(t, openChannel(t, b.AMQP), queue, 4)
		waiting = consumeQueue(t, openChannel(t, b.AMQP), queue, 4)
		// The last acknowledgements may have gone with the broker.
		next := string(receiveAcked(t, active, 1)[0].Body)
		for n, _ := strconv.Atoi(next); n < 9; n++ {
			if got := string(receiveAcked(t, active, 1)[0].Body); got != strconv.Itoa(n+1) {
				t.Errorf("after the restart got %s behind %d", got, n)
			}
		}
		nothingMore(t, active)
		nothingMore(t, waiting)
	})
}
