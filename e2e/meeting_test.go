package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// meetingQueue is a queue on a topic of the test's own.
func meetingQueue(t *testing.T, b *broker, keys ...string) <-chan amqp.Delivery {
	t.Helper()
	b.needsMQTT()
	b.needsAMQP()
	ch := openChannel(t, b.AMQP)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatalf("declare: %v", err)
	}
	for _, key := range keys {
		if err := ch.QueueBind(q.Name, key, "amq.topic", false, nil); err != nil {
			t.Fatalf("bind: %v", err)
		}
	}
	return consumeQueue(t, ch, q.Name, 0)
}

func TestMeetingPropertiesFromMQTT(t *testing.T) {
	b := startBroker(t, 1)
	deliveries := meetingQueue(t, b, "meet.#")
	pub := connect5(t, b.MQTT, "meet-pub", mqtt5Options{})
	pub.publishWith(t, &paho.Publish{
		Topic: "meet/properties", QoS: 1, Payload: []byte("payload"),
		Properties: &paho.PublishProperties{
			ContentType: "application/json", CorrelationData: []byte("corr-1"), ResponseTopic: "re/p.ly",
			MessageExpiry: new(uint32(60)), PayloadFormat: new(byte(1)),
			User: paho.UserProperties{
				{Key: "colour", Value: "blue"},
				{Key: "colour", Value: "second is dropped"},
				{Key: "x-message-id", Value: "m-1"},
				{Key: "x-type", Value: "reading"},
				{Key: "x-app-id", Value: "app"},
				{Key: "x-priority", Value: "7"},
				{Key: "x-timestamp", Value: "1700000000"},
				{Key: "x-content-encoding", Value: "gzip"},
				{Key: "x-reply-to", Value: "answers"},
			},
		},
	})
	d := receive(t, deliveries)
	got := map[string]any{
		"key": d.RoutingKey, "exchange": d.Exchange, "body": string(d.Body), "mode": d.DeliveryMode,
		"content type": d.ContentType, "correlation": d.CorrelationId, "expiration": d.Expiration,
		"colour": d.Headers["colour"], "reply topic": d.Headers["x-reply-to-topic"],
		"payload format": fmt.Sprint(d.Headers["x-payload-format"]),
		"message id":     d.MessageId, "type": d.Type, "app": d.AppId, "priority": d.Priority,
		"timestamp": d.Timestamp.Unix(), "encoding": d.ContentEncoding, "reply to": d.ReplyTo,
	}
	want := map[string]any{
		"key": "meet.properties", "exchange": "amq.topic", "body": "payload", "mode": uint8(2),
		"content type": "application/json", "correlation": "corr-1", "expiration": "60000",
		"colour": "blue", "reply topic": "re.p/ly", "payload format": "1",
		"message id": "m-1", "type": "reading", "app": "app", "priority": uint8(7),
		"timestamp": int64(1700000000), "encoding": "gzip", "reply to": "answers",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}

	pub.publishWith(t, &paho.Publish{Topic: "meet/binary", QoS: 0, Properties: &paho.PublishProperties{CorrelationData: []byte{0xFF, 0xFE}}})
	d = receive(t, deliveries)
	if d.DeliveryMode != 1 || d.CorrelationId != "" || d.Headers["x-correlation-id"] != "\xff\xfe" {
		t.Errorf("QoS 0 with binary correlation: mode %d, id %q, header %q; want 1, none, the bytes",
			d.DeliveryMode, d.CorrelationId, d.Headers["x-correlation-id"])
	}
}

func TestMeetingPropertiesFromAMQP(t *testing.T) {
	b := startBroker(t, 1)
	b.needsMQTT()
	b.needsAMQP()
	sub := connect5(t, b.MQTT, "meet-sub", mqtt5Options{})
	sub.subscribe(t, "meet/#", 1)
	ch := openChannel(t, b.AMQP)
	stamp := time.Unix(1_700_000_000, 0)
	err := ch.PublishWithContext(t.Context(), "amq.topic", "meet.properties", false, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Body: []byte("payload"), ContentType: "application/json", ContentEncoding: "gzip",
		CorrelationId: "corr-1", ReplyTo: "answers", Expiration: "60000", MessageId: "m-1", Timestamp: stamp,
		Type: "reading", UserId: "guest", AppId: "app", Priority: 7,
		Headers: amqp.Table{
			"colour": "blue", "count": int32(-7), "ok": true, "when": stamp,
			"x-reply-to-topic": "re.p/ly", "dropped": amqp.Table{"a": "b"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := sub.next(t)
	got := map[string]string{
		"topic": p.Topic, "payload": string(p.Payload), "QoS": string('0' + p.QoS), "content type": p.Properties.ContentType,
		"correlation": string(p.Properties.CorrelationData), "response topic": p.Properties.ResponseTopic,
	}
	for _, u := range p.Properties.User {
		got[u.Key] = u.Value
	}
	want := map[string]string{
		"topic": "meet/properties", "payload": "payload", "QoS": "1", "content type": "application/json",
		"correlation": "corr-1", "response topic": "re/p.ly",
		"colour": "blue", "count": "-7", "ok": "true", "when": "1700000000",
		"x-message-id": "m-1", "x-type": "reading", "x-app-id": "app", "x-user-id": "guest", "x-priority": "7",
		"x-timestamp": "1700000000", "x-content-encoding": "gzip", "x-reply-to": "answers",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if e := p.Properties.MessageExpiry; e == nil || *e > 60 || *e < 50 {
		t.Errorf("message expiry: got %v, want about 60 s", e)
	}

	if err := ch.PublishWithContext(t.Context(), "amq.topic", "meet.transient", false, false, amqp.Publishing{}); err != nil {
		t.Fatal(err)
	}
	if p := sub.next(t); p.QoS != 0 {
		t.Errorf("delivery mode 1 came with QoS %d, want 0", p.QoS)
	}
}

func TestMeetingNamesAreInjective(t *testing.T) {
	b := startBroker(t, 3)
	deliveries := meetingQueue(t, b, "names.#", "names/#")
	pub := connect5(t, b.MQTT, "names-pub", mqtt5Options{})
	pub.publish(t, "names/a.b/c", 1, "from MQTT")
	if d := receive(t, deliveries); d.RoutingKey != "names.a/b.c" {
		t.Errorf("topic names/a.b/c arrived as key %s, want names.a/b.c", d.RoutingKey)
	}
	sub := connect5(t, b.MQTT, "names-sub", mqtt5Options{})
	sub.subscribe(t, "names/#", 1)
	publishConfirmed(t, b.AMQP, "amq.topic", []keyed{{"names.a/b.c", []byte("from AMQP")}})
	if p := sub.next(t); p.Topic != "names/a.b/c" {
		t.Errorf("key names.a/b.c arrived as topic %s, want names/a.b/c", p.Topic)
	}
}
