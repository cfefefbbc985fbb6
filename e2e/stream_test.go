package e2e

import (
	"bytes"
	"maps"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// declareStream declares a stream queue with further arguments.
func declareStream(t *testing.T, b *broker, args amqp.Table) string {
	t.Helper()
	all := amqp.Table{"x-queue-type": "stream"}
	maps.Copy(all, args)
	name := "e2e." + t.Name()
	ch := openChannel(t, b.AMQP)
	if _, err := ch.QueueDeclare(name, true, false, false, false, all); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.QueueDelete(name, false, false, false) })
	return name
}

// readStream begins to read a stream.
func readStream(t *testing.T, b *broker, name string, args amqp.Table) (*amqp.Channel, <-chan amqp.Delivery) {
	t.Helper()
	ch := openChannel(t, b.AMQP)
	if err := ch.Qos(10, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(name, "", false, false, false, false, args)
	if err != nil {
		t.Fatal(err)
	}
	return ch, deliveries
}

// readFrom returns the first n messages from an offset on, and checks that each
// tells its own offset.
func readFrom(t *testing.T, b *broker, name string, from any, n int) []string {
	t.Helper()
	ch, deliveries := readStream(t, b, name, amqp.Table{"x-stream-offset": from})
	defer ch.Close()
	got := receiveAcked(t, deliveries, n)
	for _, d := range got {
		if strconv.FormatInt(d.Headers["x-stream-offset"].(int64)+1, 10) != string(d.Body) {
			t.Errorf("message %s has offset %v", d.Body, d.Headers["x-stream-offset"])
		}
	}
	return bodies(got)
}

func TestStreamReadFromEachOffsetTwice(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		name := declareStream(t, b, nil)
		messages, want := numbered(name, 60)
		publishConfirmed(t, b.AMQP, "", messages[:40])
		eventually(t, "the clock's next second", func() bool { return time.Now().Nanosecond() < 3e8 })
		first := time.Now()
		eventually(t, "the clock's second but one", func() bool { return time.Since(first) > 1100*time.Millisecond })
		second := time.Now().Truncate(time.Second) // AMQP tells seconds
		publishConfirmed(t, b.AMQP, "", messages[40:])
		for range 2 {
			for _, c := range []struct {
				name string
				from any
				want []string
			}{
				{"first", "first", want},
				{"last", "last", want[59:]},
				{"offset", int64(25), want[25:]},
				{"timestamp", second, want[40:]},
				{"interval", "1h", want},
			} {
				if diff := cmp.Diff(c.want, readFrom(t, b, name, c.from, len(c.want))); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.name, diff)
				}
			}
			b.restart()
		}
		ch, deliveries := readStream(t, b, name, amqp.Table{"x-stream-offset": "next"})
		defer ch.Close()
		publishConfirmed(t, b.AMQP, "", []keyed{{name, []byte("61")}})
		if got := bodies(receiveAcked(t, deliveries, 1)); got[0] != "61" {
			t.Errorf("next is %v, want 61", got)
		}
	})
}

func TestStreamGroupSurvivesKill(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	name := declareStream(t, b, nil)
	messages, want := numbered(name, 20)
	publishConfirmed(t, b.AMQP, "", messages)
	group := amqp.Table{"x-stream-offset": "first", "x-consumer-group": "g"}
	ch, deliveries := readStream(t, b, name, group)
	receiveAcked(t, deliveries, 12)
	if _, err := ch.QueueDeclarePassive(name, true, false, false, false, nil); err != nil { // behind the acks
		t.Fatal(err)
	}
	ch.Close()
	b.stop()
	b.start()
	_, deliveries = readStream(t, b, name, group)
	if diff := cmp.Diff(want[12:], bodies(receiveAcked(t, deliveries, 8))); diff != "" {
		t.Errorf("the group goes on elsewhere (-want +got):\n%s", diff)
	}
}

// TestStreamCompactsByOrderingKey sets the key by header, and a tombstone.
func TestStreamCompactsByOrderingKey(t *testing.T) {
	needsCrash(t)
	t.Setenv("TIDEGATE_CORE_COMPACTION_LAG", "0s")
	b := startBroker(t, 1)
	name := declareStream(t, b, amqp.Table{"x-cleanup-policy": "compact"})
	ch := openChannel(t, b.AMQP)
	for i := range 100 {
		err := ch.PublishWithContext(t.Context(), "", name, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, Headers: amqp.Table{"x-ordering-key": "k" + strconv.Itoa(i%3)},
			Body: []byte(strconv.Itoa(i)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "superseded messages to be gone", func() bool {
		ch, deliveries := readStream(t, b, name, amqp.Table{"x-stream-offset": "first"})
		defer ch.Close()
		got := bodies(receiveAcked(t, deliveries, 1))
		return got[0] == "97"
	})
	ch, deliveries := readStream(t, b, name, amqp.Table{"x-stream-offset": "first"})
	if diff := cmp.Diff([]string{"97", "98", "99"}, bodies(receiveAcked(t, deliveries, 3))); diff != "" {
		t.Errorf("the stream differs (-want +got):\n%s", diff)
	}
	nothingMore(t, deliveries)
	ch.Close()
}

// TestClientPikaStream reads a stream from each kind of offset, twice, with pika.
func TestClientPikaStream(t *testing.T) {
	needsPython(t, "pika")
	b := startBroker(t, 1)
	cmd := exec.CommandContext(within(t), python, "clients/pika_stream.py", b.AMQP, "client.pika.stream")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("pika: %v, %s\n%s", err, out, complaints.String())
	}
}
