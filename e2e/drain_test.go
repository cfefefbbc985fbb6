package e2e

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	amqp "github.com/rabbitmq/amqp091-go"
)

// TestStopDrains stops the broker under consumers that have not acknowledged what they
// have: readiness fails and nobody gets in any more, what they acknowledge then is settled,
// they are told why their connections end, and after a restart exactly the rest comes. It is
// not marked as sent before, but for what lay ready for the AMQP consumer and did not go out.
func TestStopDrains(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		const messages, window = 60, 8
		b.stop()
		b.env = append(b.env, "TIDEGATE_GATEWAY_DRAIN_GRACE=20s", "TIDEGATE_GATEWAY_DRAIN_TIMEOUT=25s")
		b.start()
		ch := openChannel(t, b.AMQP)
		durableQueue(t, ch, "drain", "drain.*")
		session := connectRaw5(t, b.MQTT, "drain", window)
		session.subscribe("drain/#", 1)
		publisher := connect5(t, b.MQTT, "drain-publisher", mqtt5Options{})
		for n := range messages {
			publisher.publish(t, "drain/x", 1, strconv.Itoa(n))
		}
		held := make([]*packets.Publish, 0, window)
		for len(held) < window {
			held = append(held, session.read().Content.(*packets.Publish))
		}
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		deliveries := consumeQueue(t, ch, "drain", window)
		taken := make([]amqp.Delivery, 0, window)
		for len(taken) < window {
			taken = append(taken, receive(t, deliveries))
		}

		b.signalStop()
		eventually(t, "nobody gets in", func() bool {
			conn, err := net.Dial("tcp", b.MQTT)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		if resp, err := http.Get("http://" + b.HTTP + "/readyz"); err != nil {
			t.Errorf("readyz of a broker that drains: %v", err)
		} else if resp.Body.Close(); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("readyz of a broker that drains: %s", resp.Status)
		}
		for _, p := range held {
			session.puback(p)
		}
		for _, d := range taken {
			if err := d.Ack(false); err != nil {
				t.Fatalf("ack while the broker drains: %v", err)
			}
		}
		acked := numbersUntilGoodbye(session, held)
		consumed := numbersUntilClosed(t, deliveries, taken)
		if e := <-closed; e == nil || e.Code != 320 {
			t.Errorf("AMQP goodbye: got %v, want 320", e)
		}
		b.awaitStop()

		b.start()
		again := connect5(t, b.MQTT, "drain", mqtt5Options{keep: time.Hour, resume: true})
		for range messages - len(acked) {
			p := again.next(t)
			if n, _ := strconv.Atoi(string(p.Payload)); slices.Contains(acked, n) || p.Duplicate() {
				t.Errorf("MQTT: number %d comes again, duplicate %t", n, p.Duplicate())
			}
		}
		nothingMore(t, again.got)
		marked := 0
		for _, d := range receiveAcked(t, consumeQueue(t, openChannel(t, b.AMQP), "drain", window), messages-len(consumed)) {
			if n, _ := strconv.Atoi(string(d.Body)); slices.Contains(consumed, n) {
				t.Errorf("AMQP: number %d comes again, redelivered %t", n, d.Redelivered)
			}
			if d.Redelivered {
				marked++
			}
		}
		if marked > window {
			t.Errorf("AMQP: %d messages are marked, want at most the %d of a window", marked, window)
		}
	})
}

// numbersUntilGoodbye acknowledges what still comes until the broker says goodbye, and
// returns the numbers of all that was acknowledged.
func numbersUntilGoodbye(r *raw5, acked []*packets.Publish) (numbers []int) {
	r.t.Helper()
	for {
		switch p := r.read().Content.(type) {
		case *packets.Publish:
			r.puback(p)
			acked = append(acked, p)
		case *packets.Disconnect:
			if p.ReasonCode != 0x8b {
				r.t.Errorf("MQTT goodbye: got %#x, want 0x8b", p.ReasonCode)
			}
			for _, p := range acked {
				n, _ := strconv.Atoi(string(p.Payload))
				numbers = append(numbers, n)
			}
			r.Close()
			return numbers
		default:
			r.t.Fatalf("got %T", p)
		}
	}
}

// numbersUntilClosed is the same for an AMQP consumer.
func numbersUntilClosed(t *testing.T, deliveries <-chan amqp.Delivery, acked []amqp.Delivery) (numbers []int) {
	t.Helper()
	for d := range deliveries {
		if err := d.Ack(false); err != nil {
			t.Fatalf("ack while the broker drains: %v", err)
		}
		acked = append(acked, d)
	}
	for _, d := range acked {
		n, _ := strconv.Atoi(string(d.Body))
		numbers = append(numbers, n)
	}
	return numbers
}
