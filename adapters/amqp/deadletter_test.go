package amqp_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// died has a message die, and returns what is known of it then, and its properties.
func died(t *testing.T, d core.Death) (core.DeadLetter, wire.Properties, []wire.Field) {
	t.Helper()
	letter, err := amqp.DeadLetter(nil, &d)
	if err != nil {
		t.Fatal(err)
	}
	var p wire.Properties
	if err := p.Parse(letter.Properties); err != nil {
		t.Fatal(err)
	}
	fields, err := p.Headers.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return letter, p, fields
}

// entry is what x-death has of a death.
func entry(count int64, reason, queue string, at int64, exchange string, more ...wire.Field) []wire.Field {
	return append([]wire.Field{
		{Name: "count", Value: count},
		{Name: "reason", Value: reason},
		{Name: "queue", Value: queue},
		{Name: "time", Value: wire.Timestamp(at)},
		{Name: "exchange", Value: exchange},
		{Name: "routing-keys", Value: []any{"k", "c1", "c2"}},
	}, more...)
}

// deathHeaders are the headers behind those of the message.
func deathHeaders(list []any, first, last [3]string) (fields []wire.Field) {
	fields = append(fields, wire.Field{Name: "x-death", Value: list})
	words := []string{"exchange", "queue", "reason"}
	for i, word := range words {
		fields = append(fields, wire.Field{Name: "x-first-death-" + word, Value: first[i]})
	}
	for i, word := range words {
		fields = append(fields, wire.Field{Name: "x-last-death-" + word, Value: last[i]})
	}
	return fields
}

// TestDeadLetterHeaders has a message die again and again, as RabbitMQ 4 tells of it.
func TestDeadLetterHeaders(t *testing.T) {
	forged := []wire.Field{
		{Name: "x-death", Value: []any{entry(9, "rejected", "q", 1, "x")}},
		{Name: "x-first-death-queue", Value: "forged"},
		{Name: "n", Value: int32(1)},
		{Name: "CC", Value: []any{"c1", "c2"}},
	}
	p := wire.Properties{
		Flags:      wire.FlagHeaders | wire.FlagExpiration | wire.FlagDeliveryMode | wire.FlagMessageID,
		Expiration: []byte("20"), DeliveryMode: 2, MessageID: []byte("id"), Headers: wire.EncodeTable(forged),
	}
	m := &core.Message{Format: core.FormatAMQP, Exchange: []byte("x"), Key: []byte("k"), Properties: p.Append(nil), QoS: 1}
	kept := forged[2:]
	first := entry(1, "expired", "q", 100, "x", wire.Field{Name: "original-expiration", Value: "20"})

	letter, got, fields := died(t, core.Death{Queue: "q", Reason: "expired", Time: time.Unix(100, 0), Message: m})
	want := append(append([]wire.Field{}, kept...),
		deathHeaders([]any{first}, [3]string{"x", "q", "expired"}, [3]string{"x", "q", "expired"})...)
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("first death (-want +got):\n%s", diff)
	}
	if got.Has(wire.FlagExpiration) || !got.Has(wire.FlagDeliveryMode|wire.FlagMessageID) || string(got.MessageID) != "id" {
		t.Errorf("properties: got %+v", got)
	}
	if diff := cmp.Diff([][]byte{[]byte("c1"), []byte("c2")}, letter.MoreKeys); diff != "" {
		t.Errorf("further keys (-want +got):\n%s", diff)
	}

	m = &core.Message{Format: core.FormatAMQP, Exchange: []byte("dlx"), Key: []byte("k"), Properties: letter.Properties}
	letter, _, _ = died(t, core.Death{Queue: "d", Reason: "rejected", Time: time.Unix(200, 0), Message: m, Known: true})
	m = &core.Message{Format: core.FormatAMQP, Exchange: []byte("dlx2"), Key: []byte("k"), Properties: letter.Properties}
	letter, _, fields = died(t, core.Death{
		Queue: "q", Reason: "expired", Time: time.Unix(300, 0), Message: m, Known: true, Keyed: true,
	})
	again := entry(2, "expired", "q", 100, "x", wire.Field{Name: "original-expiration", Value: "20"})
	want = append([]wire.Field{kept[0]}, deathHeaders([]any{again, entry(1, "rejected", "d", 200, "dlx")},
		[3]string{"x", "q", "expired"}, [3]string{"x", "q", "expired"})...)
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("third death, with another key (-want +got):\n%s", diff)
	}
	if len(letter.MoreKeys) > 0 {
		t.Errorf("further keys beside a key of the queue: %s", letter.MoreKeys)
	}
	past := []core.PastDeath{{Queue: "q", Reason: "expired"}, {Queue: "d", Reason: "rejected"}}
	if diff := cmp.Diff(past, letter.Past); diff != "" {
		t.Errorf("past (-want +got):\n%s", diff)
	}
}

// TestDeadLetterOfAnotherProtocol makes a message of AMQP of one that came over MQTT.
func TestDeadLetterOfAnotherProtocol(t *testing.T) {
	m := &core.Message{Format: core.FormatMQTT, Exchange: []byte("amq.topic"), Key: []byte("a/b.c"), QoS: 1}
	letter, p, _ := died(t, core.Death{Queue: "q", Reason: "rejected", Time: time.Unix(1, 0), Message: m})
	if string(letter.Key) != "a.b/c" || p.DeliveryMode != 2 {
		t.Errorf("got key %s and delivery mode %d", letter.Key, p.DeliveryMode)
	}
}
