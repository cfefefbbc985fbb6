package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMQTTQoSBothWays(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsMQTT()
		for _, sub := range []byte{0, 1, 2} {
			c := connect5(t, b.MQTT, fmt.Sprintf("qos-sub-%d", sub), mqtt5Options{})
			c.subscribe(t, "qos/+", sub)
			publisher := connect5(t, b.MQTT, fmt.Sprintf("qos-pub-%d", sub), mqtt5Options{})
			for _, pub := range []byte{0, 1, 2} {
				publisher.publish(t, fmt.Sprintf("qos/%d", pub), pub, "x")
				got := c.next(t)
				if want := min(sub, pub); got.QoS != want {
					t.Errorf("published with QoS %d, subscribed with %d: got %d, want %d", pub, sub, got.QoS, want)
				}
			}
			nothingMore(t, c.got)
		}
	})
}

func TestMQTTQoS2OfflineRoundTrip(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsMQTT()
		const n = 100
		sub := connect5(t, b.MQTT, "exact", mqtt5Options{keep: time.Hour})
		sub.subscribe(t, "exact/#", 2)
		sub.close()
		pub := connect5(t, b.MQTT, "exact-pub", mqtt5Options{})
		want := make([]string, 0, n)
		for i := range n {
			want = append(want, strconv.Itoa(i))
			pub.publish(t, "exact/once", 2, want[i])
		}
		sub = connect5(t, b.MQTT, "exact", mqtt5Options{keep: time.Hour, resume: true})
		if diff := cmp.Diff(want, payloads(sub.nextN(t, n))); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		nothingMore(t, sub.got)
	})
}

func TestMQTTWildcards(t *testing.T) {
	b := startBroker(t, 3)
	b.needsMQTT()
	topics := []string{"a", "a/b", "a/b/c", "a//c", "/a", "b/b/c", "dots.in/a"}
	filters := map[string][]string{
		"#":         topics,
		"+":         {"a"},
		"a/#":       {"a", "a/b", "a/b/c", "a//c"},
		"a/+":       {"a/b"},
		"+/b/c":     {"a/b/c", "b/b/c"},
		"a/+/c":     {"a/b/c", "a//c"},
		"/+":        {"/a"},
		"a/b/c":     {"a/b/c"},
		"+/+/+":     {"a/b/c", "a//c", "b/b/c"},
		"+/b/#":     {"a/b", "a/b/c", "b/b/c"},
		"dots.in/+": {"dots.in/a"},
		"dots/in/#": nil,
		"a.b":       nil,
		"a/b/c/d/#": nil,
	}
	subs := map[string]*mqtt5{}
	for filter := range filters {
		subs[filter] = connect5(t, b.MQTT, fmt.Sprintf("wild-%d", len(subs)), mqtt5Options{})
		subs[filter].subscribe(t, filter, 1)
	}
	pub := connect5(t, b.MQTT, "wild-pub", mqtt5Options{})
	for _, topic := range topics {
		pub.publish(t, topic, 1, topic)
	}
	for filter, want := range filters {
		got := payloads(subs[filter].nextN(t, len(want)))
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("filter %s (-want +got):\n%s", filter, diff)
		}
		nothingMore(t, subs[filter].got)
	}
}

func TestMQTTRetained(t *testing.T) {
	b := startBroker(t, 3)
	b.needsMQTT()
	pub := connect5(t, b.MQTT, "retain-pub", mqtt5Options{})
	for _, room := range []string{"kitchen", "cellar", "attic"} {
		pub.publishWith(t, &paho.Publish{Topic: "home/" + room, QoS: 1, Retain: true, Payload: []byte("old")})
		pub.publishWith(t, &paho.Publish{Topic: "home/" + room, QoS: 1, Retain: true, Payload: []byte(room)})
	}
	pub.publishWith(t, &paho.Publish{Topic: "home/attic", QoS: 1, Retain: true}) // forget it

	check := func(id string) {
		t.Helper()
		sub := connect5(t, b.MQTT, id, mqtt5Options{})
		sub.subscribe(t, "home/+", 1)
		got := sub.nextN(t, 2)
		for _, p := range got {
			if !p.Retain {
				t.Errorf("%s: the retained mark is missing", p.Topic)
			}
		}
		values := payloads(got)
		slices.Sort(values)
		if diff := cmp.Diff([]string{"cellar", "kitchen"}, values); diff != "" {
			t.Errorf("retained values (-want +got):\n%s", diff)
		}
		nothingMore(t, sub.got)
	}
	check("retain-sub")
	if b.cmd != nil {
		b.restart()
		check("retain-sub-later")
	}

	sub := connect5(t, b.MQTT, "retain-live", mqtt5Options{})
	sub.subscribeWith(t, paho.SubscribeOptions{Topic: "home/+", QoS: 1, RetainHandling: 2})
	pub = connect5(t, b.MQTT, "retain-pub-2", mqtt5Options{})
	pub.publishWith(t, &paho.Publish{Topic: "home/kitchen", QoS: 1, Retain: true, Payload: []byte("now")})
	if got := sub.next(t); string(got.Payload) != "now" || got.Retain {
		t.Errorf("live delivery: got %q with retain %t, want \"now\" without", got.Payload, got.Retain)
	}
}

func TestMQTTWill(t *testing.T) {
	b := startBroker(t, 1)
	b.needsMQTT()
	sub := connect5(t, b.MQTT, "will-watch", mqtt5Options{})
	sub.subscribe(t, "will/#", 1)
	will := func(id string) mqtt5Options {
		return mqtt5Options{
			will:      &paho.WillMessage{Topic: "will/" + id, QoS: 1, Payload: []byte("gone " + id)},
			willProps: &paho.WillProperties{User: paho.UserProperties{{Key: "why", Value: "crash"}}},
		}
	}

	polite := connect5(t, b.MQTT, "polite", will("polite"))
	polite.close()

	lost := connect5(t, b.MQTT, "lost", will("lost"))
	lost.conn.Close()
	got := sub.next(t)
	if got.Topic != "will/lost" || string(got.Payload) != "gone lost" {
		t.Errorf("got %s %q, want the will of the lost client", got.Topic, got.Payload)
	}
	if got.Properties.User.Get("why") != "crash" {
		t.Errorf("the will lost its properties: %+v", got.Properties)
	}
	nothingMore(t, sub.got)
}

// TestMQTTWillOfAKilledBroker kills the broker under a client with a will.
func TestMQTTWillOfAKilledBroker(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	b.needsMQTT()
	sub := connect5(t, b.MQTT, "will-watch", mqtt5Options{keep: time.Hour})
	sub.subscribe(t, "will/#", 1)
	connect5(t, b.MQTT, "lost", mqtt5Options{
		will:      &paho.WillMessage{Topic: "will/lost", QoS: 1, Payload: []byte("gone")},
		willProps: &paho.WillProperties{User: paho.UserProperties{{Key: "why", Value: "crash"}}},
	})
	b.restart()
	sub = connect5(t, b.MQTT, "will-watch", mqtt5Options{keep: time.Hour, resume: true})
	got := sub.next(t)
	if got.Topic != "will/lost" || string(got.Payload) != "gone" || got.Properties.User.Get("why") != "crash" {
		t.Errorf("got %s %q, want the will of the client that was connected", got.Topic, got.Payload)
	}
	nothingMore(t, sub.got)
}

func TestMQTTTakeover(t *testing.T) {
	b := startBroker(t, 1)
	b.needsMQTT()
	first := connect5(t, b.MQTT, "twin", mqtt5Options{keep: time.Hour})
	first.subscribe(t, "twin/#", 1)
	second := connect5(t, b.MQTT, "twin", mqtt5Options{keep: time.Hour, resume: true})
	select {
	case <-first.Done():
	case <-time.After(patience):
		t.Fatal("the first connection lives on beside the second")
	}
	if !second.connack.SessionPresent {
		t.Error("the second connection did not get the session")
	}
	pub := connect5(t, b.MQTT, "twin-pub", mqtt5Options{})
	pub.publish(t, "twin/x", 1, "hello")
	if got := second.next(t); string(got.Payload) != "hello" {
		t.Errorf("got %q, want \"hello\"", got.Payload)
	}
}
