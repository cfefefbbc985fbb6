package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestLostIndex kills the broker and removes its indexes: what was acked stays
// away, what was not comes back once each, and what was delivered is flagged.
func TestLostIndex(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		const n, delivered = 500, 100
		ch := openChannel(t, b.AMQP)
		queue := "e2e.lostindex"
		durableQueue(t, ch, queue)
		messages, _ := numbered(queue, n)
		publishConfirmed(t, b.AMQP, "", messages)

		consumer := openChannel(t, b.AMQP)
		all := consumeQueue(t, consumer, queue, delivered)
		acked := map[string]bool{}
		for i := range delivered {
			if d := receive(t, all); i%3 != 0 { // out of order
				acked[string(d.Body)] = true
				if err := d.Ack(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		// An ack of a closed channel is in the log with the next confirm at the latest.
		consumer.Close()
		publishConfirmed(t, b.AMQP, "", []keyed{{queue, []byte("last")}})
		b.kill()
		indexes, err := filepath.Glob(filepath.Join(b.dir, "data", "log", "index-*"))
		if err != nil || len(indexes) != b.shards {
			t.Fatalf("indexes: %v, %v", indexes, err)
		}
		for _, dir := range indexes {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		b.start()

		ch = openChannel(t, b.AMQP)
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if want := n + 1 - len(acked); err != nil || q.Messages != want {
			t.Fatalf("queue after the rebuild: %d messages, %v, want %d", q.Messages, err, want)
		}
		again := consumeQueue(t, ch, queue, 0)
		seen := map[string]bool{}
		for range q.Messages {
			checkRebuilt(t, receive(t, again), acked, seen, delivered)
		}
	})
}

// checkRebuilt judges one delivery after the rebuild.
func checkRebuilt(t *testing.T, d amqp.Delivery, acked, seen map[string]bool, delivered int) {
	t.Helper()
	body := string(d.Body)
	if acked[body] || seen[body] {
		t.Errorf("message %s came again: acked %v, seen %v", body, acked[body], seen[body])
	}
	seen[body] = true
	if no, err := strconv.Atoi(body); err == nil && no <= delivered && !d.Redelivered {
		t.Errorf("message %s was delivered before and is not flagged", body)
	}
	if err := d.Ack(false); err != nil {
		t.Errorf("ack: %v", err)
	}
}
