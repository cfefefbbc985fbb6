package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMetadataIsLost removes the embedded etcd with the copy of the metadata: what a
// queue had is listed, and comes back when it is adopted; another is dropped.
func TestMetadataIsLost(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		const n, acked = 500, 100
		ch := openChannel(t, b.AMQP)
		queue, other := "e2e.lost", "e2e.other"
		durableQueue(t, ch, queue)
		durableQueue(t, ch, other)
		for _, name := range []string{queue, other} {
			messages, _ := numbered(name, n)
			publishConfirmed(t, b.AMQP, "", messages)
		}
		consumer := openChannel(t, b.AMQP)
		receiveAcked(t, consumeQueue(t, consumer, queue, acked), acked)
		consumer.Close() // which comes behind the acks
		b.stop()
		for _, dir := range []string{"etcd", "catalog"} {
			if err := os.RemoveAll(filepath.Join(b.dir, "data", dir)); err != nil {
				t.Fatal(err)
			}
		}
		b.env = []string{"TIDEGATE_METADATA_RECREATE=true"} // a start refuses to take that for granted
		b.start()
		b.env = nil

		numbers := map[string]string{}
		for line := range strings.Lines(b.must("queue", "orphans")) {
			if f := strings.Fields(line); len(f) == 6 {
				numbers[f[2]] = f[0]
				t.Log(strings.TrimSpace(line))
			}
		}
		ch = openChannel(t, b.AMQP)
		if q, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil || q.Messages != 0 {
			t.Fatalf("declared anew: %+v, %v, want an empty queue", q, err)
		}
		if out, err := b.cli("queue", "adopt", numbers[queue]); err == nil || !strings.Contains(out, "under another one") {
			t.Errorf("adopt beside a queue of the name: %v, %s", err, out)
		}
		if out, err := b.cli("queue", "discard", numbers[other]); err == nil || !strings.Contains(out, "--yes") {
			t.Errorf("discard unasked: %v, %s", err, out)
		}
		b.must("queue", "adopt", numbers[queue], "--as", queue+".old", "--arguments", `{"x-queue-type":"quorum"}`)
		if out := b.must("queue", "discard", numbers[other], "--yes"); !strings.Contains(out, "500 messages dropped") {
			t.Errorf("discard: %s", out)
		}
		b.restart()
		if out := b.must("queue", "orphans"); strings.Contains(out, "e2e.") {
			t.Errorf("orphans after all: %s", out)
		}
		ch = openChannel(t, b.AMQP)
		q, err := ch.QueueDeclarePassive(queue+".old", true, false, false, false, nil)
		if err != nil || q.Messages != n-acked {
			t.Fatalf("adopted queue: %+v, %v, want %d messages", q, err, n-acked)
		}
		deliveries := consumeQueue(t, ch, queue+".old", 0)
		for i := range n - acked {
			d := receive(t, deliveries)
			if _, bodies := numbered(queue, n); string(d.Body) != bodies[acked+i] {
				t.Fatalf("message %d: got %s, want %s", i, d.Body, bodies[acked+i])
			}
		}
	})
}
