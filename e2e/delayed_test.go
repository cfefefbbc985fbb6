package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestClientPikaDelayed runs a program as it is written for RabbitMQ's plugin.
func TestClientPikaDelayed(t *testing.T) {
	needsPython(t, "pika")
	b := startBroker(t, 3)
	b.needsAMQP()
	runFeatures(t, os.Environ(), 6, python, "clients/pika_delayed.py", b.AMQP)
}

// TestDelayedAcrossKill kills the broker while messages wait and are due: each comes once,
// or again with the flag, none before its time, and none that was cancelled.
func TestDelayedAcrossKill(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsAMQP()
		const count = 120
		ch := openChannel(t, b.AMQP)
		durableQueue(t, ch, "delayed")
		must(t, "confirm.select", ch.Confirm(false))
		due := map[string]time.Time{}
		var confirms []*amqp.DeferredConfirmation
		publish := func(exchange, key, body string, headers amqp.Table) {
			t.Helper()
			c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), exchange, key, false, false,
				amqp.Publishing{DeliveryMode: amqp.Persistent, Headers: headers, Body: []byte(body)})
			must(t, "publish", err)
			confirms = append(confirms, c)
		}
		for i := range count {
			body, in := strconv.Itoa(i), time.Duration(i%40)*50*time.Millisecond+time.Millisecond
			due[body] = time.Now().Add(in)
			publish("", "delayed", body, amqp.Table{"x-delay": in.Milliseconds()})
			name := fmt.Sprint("s", i)
			publish("", "delayed", "cancelled", amqp.Table{"x-delay": int64(3000), "x-schedule-id": name})
			publish("amq.delayed", "cancel", "", amqp.Table{"x-schedule-id": name})
		}
		for _, c := range confirms {
			if ok, err := c.WaitContext(within(t)); err != nil || !ok {
				t.Fatalf("confirm: %t, %v", ok, err)
			}
		}
		b.restart()
		ch = openChannel(t, b.AMQP)
		deliveries, err := ch.Consume("delayed", "", false, false, false, false, nil)
		must(t, "consume", err)
		limit := within(t)
		killed := false
		for left := count; left > 0; {
			select {
			case d, open := <-deliveries:
				if !open {
					t.Fatal("the consumer is gone")
				}
				at, first := due[string(d.Body)]
				switch {
				case !first && !d.Redelivered:
					t.Fatalf("%s came once more, or was not to come", d.Body)
				case first && time.Now().Before(at):
					t.Fatalf("%s came %v early", d.Body, time.Until(at))
				case first:
					delete(due, string(d.Body))
					left--
				}
				if !killed && left < count/2 { // without acks: those before come again, with the flag
					killed = true
					b.restart()
					ch = openChannel(t, b.AMQP)
					deliveries, err = ch.Consume("delayed", "", false, false, false, false, nil)
					must(t, "consume", err)
				}
			case <-limit.Done():
				t.Fatalf("%d messages have not come: %v", left, due)
			}
		}
		q, err := ch.QueueDeclarePassive("delayed", true, false, false, false, nil)
		must(t, "declare", err)
		if q.Messages != 0 {
			t.Errorf("%d messages are left", q.Messages)
		}
	})
}

// TestDelayedByTopic publishes with a client that knows no properties.
func TestDelayedByTopic(t *testing.T) {
	pub := needsProgram(t, "mosquitto_pub")
	b := startBroker(t, 1)
	b.needsAMQP()
	b.needsMQTT()
	ch := openChannel(t, b.AMQP)
	durableQueue(t, ch, "valves")
	must(t, "bind", ch.QueueBind("valves", "plant.#", "amq.topic", false, nil))
	deliveries, err := ch.Consume("valves", "", true, false, false, false, nil)
	must(t, "consume", err)
	host, port, err := net.SplitHostPort(b.MQTT)
	must(t, "address", err)
	begin := time.Now()
	for _, args := range [][]string{
		{"-t", "$delayed/1/plant/valve"},
		{"-V", "5", "-t", "plant/valve", "-D", "publish", "user-property", "x-delay", "1000"},
	} {
		args = append([]string{"-h", host, "-p", port, "-q", "1", "-m", "open"}, args...)
		if out, err := exec.CommandContext(within(t), pub, args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_pub: %v %s", err, out)
		}
	}
	for range 2 {
		select {
		case d := <-deliveries:
			if d.RoutingKey != "plant.valve" || string(d.Body) != "open" || time.Since(begin) < time.Second {
				t.Errorf("got %q with key %s after %v", d.Body, d.RoutingKey, time.Since(begin))
			}
			if at, ok := d.Headers["x-scheduled-at"].(string); !ok || len(at) != 13 {
				t.Errorf("x-scheduled-at is %v", d.Headers["x-scheduled-at"])
			}
		case <-within(t).Done():
			t.Fatal("nothing came")
		}
	}
}
