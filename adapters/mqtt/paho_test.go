package mqtt_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	v5 "github.com/eclipse/paho.golang/paho"
	v3 "github.com/eclipse/paho.mqtt.golang"
)

func (w *world) await(what string, token v3.Token) {
	w.t.Helper()
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		w.t.Fatalf("%s: %v", what, token.Error())
	}
}

func (w *world) paho3(id string, clean bool) v3.Client {
	w.t.Helper()
	c := v3.NewClient(v3.NewClientOptions().AddBroker("tcp://" + w.addr).SetClientID(id).
		SetCleanSession(clean).SetAutoReconnect(false).SetProtocolVersion(4))
	w.await("connect", c.Connect())
	return c
}

func TestPaho3(t *testing.T) {
	w := newWorld(t)
	for qos := range byte(3) {
		got := make(chan string, 100)
		sub := w.paho3("sub", false)
		w.await("subscribe", sub.Subscribe("p/#", qos, func(_ v3.Client, m v3.Message) {
			got <- fmt.Sprintf("%s %d %s", m.Topic(), m.Qos(), m.Payload())
		}))
		pub := w.paho3("pub", true)
		for i := range 50 {
			w.await("publish", pub.Publish(fmt.Sprintf("p/%d", i), qos, false, strconv.Itoa(i)))
		}
		for i := range 50 {
			if g, want := <-got, fmt.Sprintf("p/%d %d %d", i, qos, i); g != want {
				t.Fatalf("got %q, want %q", g, want)
			}
		}
		w.await("unsubscribe", sub.Unsubscribe("p/#"))
		pub.Disconnect(50)
		sub.Disconnect(50)
	}
}

func TestPaho5(t *testing.T) {
	w := newWorld(t)
	got := make(chan *v5.Publish, 100)
	connect := func(id string) *v5.Client {
		conn, err := net.Dial("tcp", w.addr)
		w.must(err)
		c := v5.NewClient(v5.ClientConfig{Conn: conn, OnPublishReceived: []func(v5.PublishReceived) (bool, error){
			func(p v5.PublishReceived) (bool, error) { got <- p.Packet; return true, nil },
		}})
		expiry := uint32(60)
		_, err = c.Connect(t.Context(), &v5.Connect{
			ClientID: id, KeepAlive: 30, CleanStart: false, Properties: &v5.ConnectProperties{SessionExpiryInterval: &expiry},
		})
		w.must(err)
		return c
	}
	sub, pub := connect("sub"), connect("pub")
	id := 9
	_, err := sub.Subscribe(t.Context(), &v5.Subscribe{
		Properties:    &v5.SubscribeProperties{SubscriptionIdentifier: &id},
		Subscriptions: []v5.SubscribeOptions{{Topic: "p/+", QoS: 2}},
	})
	w.must(err)
	for qos := range byte(3) {
		for i := range 30 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := pub.Publish(ctx, &v5.Publish{
				QoS: qos, Topic: fmt.Sprintf("p/%d", i), Payload: []byte(strconv.Itoa(i)),
				Properties: &v5.PublishProperties{
					ContentType: "text/plain", ResponseTopic: "answer", CorrelationData: []byte{1, 2},
					User: v5.UserProperties{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}},
				},
			})
			cancel()
			w.must(err)
		}
		for i := range 30 {
			p := <-got
			if p.Topic != fmt.Sprintf("p/%d", i) || p.QoS != qos || string(p.Payload) != strconv.Itoa(i) ||
				p.Properties.ContentType != "text/plain" || p.Properties.ResponseTopic != "answer" ||
				len(p.Properties.User) != 2 || *p.Properties.SubscriptionIdentifier != id {
				t.Fatalf("message %d: got %v with %+v", i, p, p.Properties)
			}
		}
	}
	w.must(sub.Disconnect(&v5.Disconnect{}))
	w.must(pub.Disconnect(&v5.Disconnect{}))
}
