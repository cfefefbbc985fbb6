package e2e

import (
	"context"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"
)

// numberSeen is a number that a client received, with its duplicate mark.
type numberSeen struct {
	n      int
	marked bool
}

// takeNumbers waits until a client has received a number, and checks that the
// numbers come in order and that one that comes again is marked.
func takeNumbers(t *testing.T, seen <-chan numberSeen, from, to int) {
	t.Helper()
	for next := from; next <= to; {
		select {
		case s := <-seen:
			switch {
			case s.n == next:
				next++
			case s.n > next:
				t.Fatalf("number %d came before %d", s.n, next)
			case !s.marked:
				t.Errorf("number %d came again without a mark", s.n)
			}
		case <-time.After(patience):
			t.Fatalf("number %d did not come within %v", next, patience)
		}
	}
}

// roundTripWithRestart publishes and consumes, kills the broker, and goes on
// once the client has found it again.
func roundTripWithRestart(t *testing.T, b *broker, seen <-chan numberSeen, publish func(n int) error, connected func()) {
	t.Helper()
	for n := 1; n <= roundTrip; n++ {
		if n == roundTrip/2+1 {
			takeNumbers(t, seen, 1, roundTrip/2)
			b.restart()
			connected()
		}
		if err := publish(n); err != nil {
			t.Fatalf("publish %d: %v", n, err)
		}
	}
	takeNumbers(t, seen, roundTrip/2+1, roundTrip)
}

func TestClientPahoV3(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	seen := make(chan numberSeen, inbox)
	up := make(chan struct{}, 8)
	o := mqtt3.NewClientOptions().AddBroker("tcp://" + b.MQTT).SetClientID("paho-v3").
		SetCleanSession(false).SetResumeSubs(false).
		SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond).
		SetOnConnectHandler(func(mqtt3.Client) { up <- struct{}{} }).
		SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) {
			n, _ := strconv.Atoi(string(m.Payload()))
			seen <- numberSeen{n, m.Duplicate()}
		})
	c := connect3(t, o)
	connected := func() {
		select {
		case <-up:
		case <-time.After(patience):
			t.Fatalf("not connected within %v", patience)
		}
	}
	connected()
	await3(t, "subscribe", c.Subscribe("client/paho-v3", 2, nil))
	roundTripWithRestart(t, b, seen, func(n int) error {
		return wait3(within(t), c.Publish("client/paho-v3", byte(1+n%2), false, strconv.Itoa(n)))
	}, connected)
}

func TestClientPahoV5(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	seen := make(chan numberSeen, inbox)
	up := make(chan bool, 8) // session present
	cm, err := autopaho.NewConnection(t.Context(), autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: b.MQTT}},
		KeepAlive:  30, SessionExpiryInterval: 3600,
		ReconnectBackoff: func(int) time.Duration { return 50 * time.Millisecond },
		OnConnectionUp:   func(_ *autopaho.ConnectionManager, c *paho.Connack) { up <- c.SessionPresent },
		ClientConfig: paho.ClientConfig{
			ClientID: "paho-v5",
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				n, err := strconv.Atoi(string(r.Packet.Payload))
				seen <- numberSeen{n, r.Packet.Duplicate()}
				return true, err
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cm.Disconnect(ctx)
	})
	connected := func(known bool) {
		select {
		case present := <-up:
			if present != known {
				t.Errorf("session present: got %t, want %t", present, known)
			}
		case <-time.After(patience):
			t.Fatalf("not connected within %v", patience)
		}
	}
	connected(false)
	if _, err := cm.Subscribe(within(t), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "client/paho-v5", QoS: 2}}}); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	roundTripWithRestart(t, b, seen, func(n int) error {
		_, err := cm.Publish(within(t), &paho.Publish{Topic: "client/paho-v5", QoS: byte(1 + n%2), Payload: []byte(strconv.Itoa(n))})
		return err
	}, func() { connected(true) })
}
