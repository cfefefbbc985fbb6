package e2e

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// messagesLeft is how many messages a queue says that it has.
func messagesLeft(t *testing.T, ch *amqp.Channel, queue string, args amqp.Table) int {
	t.Helper()
	q, err := ch.QueueDeclare(queue, true, false, false, false, args)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// Messages end after their time, also behind others and while the broker is not
// there, and nobody gets them.
func TestAMQPTimeToLive(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		const life = 1500 * time.Millisecond
		queue, args := "e2e."+t.Name(), amqp.Table{"x-message-ttl": int32(3_600_000)}
		ch := openChannel(t, b.AMQP)
		if n := messagesLeft(t, ch, queue, args); n != 0 {
			t.Fatalf("a new queue has %d messages", n)
		}
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		published := time.Now()
		for _, m := range []amqp.Publishing{
			{Body: []byte("stays"), DeliveryMode: amqp.Persistent},
			{Body: []byte("goes"), DeliveryMode: amqp.Persistent, Expiration: "1500"},
			{Body: []byte("stays too"), DeliveryMode: amqp.Persistent, Expiration: "999999999"},
		} {
			confirm, err := ch.PublishWithDeferredConfirm("", queue, false, false, m)
			if err != nil {
				t.Fatal(err)
			}
			if !confirm.Wait() {
				t.Fatal("publish was refused")
			}
		}
		if n := messagesLeft(t, ch, queue, args); n != 3 && time.Since(published) < life {
			t.Errorf("%d messages before the end of one, want 3", n)
		}
		b.restart()
		<-time.After(time.Until(published.Add(life)))
		ch = openChannel(t, b.AMQP)
		if n := messagesLeft(t, ch, queue, args); n != 2 {
			t.Errorf("%d messages after the end of one, want 2", n)
		}
		deliveries := consumeQueue(t, ch, queue, 10)
		for _, want := range []string{"stays", "stays too"} {
			if got := receiveAcked(t, deliveries, 1)[0]; string(got.Body) != want {
				t.Errorf("got %s, want %s", got.Body, want)
			}
		}
		nothingMore(t, deliveries)
	})
}
