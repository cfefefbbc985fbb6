package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// TestBenchMany has the load generator make a few of each thing of which it can
// make many, and looks whether they are there, and gone again without --keep.
func TestBenchMany(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsMQTT()
		b.needsAMQP()
		for _, line := range []string{"amqp-connections --channels 3", "mqtt-connections"} {
			runMany(t, b, line)
		}

		runMany(t, b, "amqp-queues --keep --first 5")
		for name, there := range map[string]bool{"tidegate-bench-4": false, "tidegate-bench-5": true, "tidegate-bench-24": true} {
			_, err := openChannel(t, b.AMQP).QueueDeclarePassive(name, true, false, false, false, nil)
			if there != (err == nil) {
				t.Errorf("queue %s: got error %v, want it there: %v", name, err, there)
			}
		}
		runMany(t, b, "amqp-queues --first 5")
		if _, err := openChannel(t, b.AMQP).QueueDeclarePassive("tidegate-bench-5", true, false, false, false, nil); err == nil {
			t.Error("the queues were not deleted")
		}

		runMany(t, b, "mqtt-sessions --keep")
		c := connect5(t, b.MQTT, "many-publisher", mqtt5Options{})
		c.publish(t, "tidegate-bench/19/command", 1, "for a session that waits")
		waiting := connect5(t, b.MQTT, "tidegate-bench-19", mqtt5Options{resume: true, keep: time.Hour})
		if p := waiting.next(t); string(p.Payload) != "for a session that waits" {
			t.Errorf("the session got %q", p.Payload)
		}
		waiting.close()
		runMany(t, b, "mqtt-sessions")
		if connect5(t, b.MQTT, "tidegate-bench-19", mqtt5Options{resume: true}).connack.SessionPresent {
			t.Error("the sessions were not ended")
		}

		runMany(t, b, "mqtt-retained --keep")
		c.subscribe(t, "tidegate-bench/0/+/state", 1)
		c.nextN(t, 20)
		runMany(t, b, "mqtt-retained")
		for _, p := range c.nextN(t, 40) { // made again, and cleared
			if p.Retain {
				t.Errorf("%s is marked as retained", p.Topic)
			}
		}
		late := connect5(t, b.MQTT, "many-late", mqtt5Options{})
		late.subscribeWith(t, paho.SubscribeOptions{Topic: "tidegate-bench/0/+/state", QoS: 1})
		c.publish(t, "tidegate-bench/0/0/state", 1, "not retained")
		if p := late.next(t); string(p.Payload) != "not retained" {
			t.Errorf("the retained messages were not cleared: got %q", p.Payload)
		}
	})
}

// runMany runs "tidegate bench many" for 20 of a thing.
func runMany(t *testing.T, b *broker, line string) {
	t.Helper()
	path, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"bench", "many"}, strings.Fields(line)...)
	args = append(args, "--count", "20", "--hold", "0s", "--json", "--amqp", b.AMQP, "--mqtt", b.MQTT)
	complaints := newTailBuffer(16 << 10)
	cmd := exec.CommandContext(within(t), path, args...)
	cmd.Stderr = complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tidegate %s: %v\n%s", strings.Join(args, " "), err, complaints)
	}
	var r struct {
		Count   int     `json:"count"`
		Seconds float64 `json:"seconds"`
	}
	if err := json.Unmarshal(out, &r); err != nil || r.Count != 20 || r.Seconds <= 0 {
		t.Errorf("%s: report %s, %v", line, out, err)
	}
}
