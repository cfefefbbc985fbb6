package record_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/record"
)

// heldSample is a message as it is held.
func heldSample() record.Message {
	return record.Message{
		Format: 1, QoS: 1, Namespace: []byte("/"), Exchange: []byte("orders"), Key: []byte("order.7"), Properties: []byte("pp"),
		Payload: []byte("body"), ExpireAt: 1700000009000, DeliverAt: 1700000005000, Schedule: []byte("remind-7"),
		Repeats: []byte("@every 5m"), FurtherKeys: record.AppendKey(record.AppendKey(nil, []byte("a")), nil),
	}
}

// fireSample is a fire record of it.
func fireSample() record.Fire {
	m := heldSample()
	m.Properties, m.Payload, m.Repeats, m.FurtherKeys = nil, nil, nil, nil
	m.Streams, m.Body, m.BodySizes = []record.StreamID{5, 1<<60 + 1}, 70000, [2]int{2, 4}
	return record.Fire{Body: 70000, Next: 1700000305000, Message: m}
}

func againFire(body []byte) ([]byte, error) {
	var f record.Fire
	err := record.DecodeFire(body, &f)
	return record.AppendFire(nil, &f), err
}

func TestFireLeavesTheBodyOut(t *testing.T) {
	f := fireSample()
	of := heldSample()
	f.Message.Properties, f.Message.Payload, f.Message.Body = of.Properties, of.Payload, 0
	body := record.AppendFire(nil, &f)
	if string(f.Message.Payload) != "body" {
		t.Error("AppendFire changed the message")
	}
	var got record.Fire
	if err := record.DecodeFire(body, &got); err != nil {
		t.Fatal(err)
	}
	m := &got.Message
	if m.Body != 70000 || m.PropertiesSize() != 2 || m.PayloadSize() != 4 || len(m.Payload) != 0 || m.NumStreams() != 2 {
		t.Errorf("got body %d, sizes %d and %d, %d streams", m.Body, m.PropertiesSize(), m.PayloadSize(), m.NumStreams())
	}
	if got.Next != f.Next || m.DeliverAt != f.Message.DeliverAt || string(m.Schedule) != "remind-7" {
		t.Errorf("got %+v", got)
	}
}

func TestPlacedFire(t *testing.T) {
	fire := fireSample()
	body := record.AppendFire(nil, &fire)
	places := []record.Place{record.PlaceAt(300), record.NoPlace}
	placed := record.AppendPlacedFire(nil, places, body)
	if want := golden(t, "kind-33.bin", placed); !bytes.Equal(placed, want) {
		t.Errorf("got\n%x, want\n%x", placed, want)
	}
	got, rest, err := record.SplitPlacedFire(placed, nil)
	if diff := cmp.Diff(places, got); diff != "" || err != nil || !bytes.Equal(rest, body) {
		t.Errorf("places (-want +got):\n%s%x, %v", diff, rest, err)
	}
	for kind, of := range map[record.Kind][]byte{record.KindFire: body, record.KindPlacedFire: placed} {
		if got, ok, err := record.FireBody(kind, of); !ok || err != nil || !bytes.Equal(got, body) {
			t.Errorf("kind %d: got %x, %t, %v", kind, got, ok, err)
		}
	}
	if _, ok, _ := record.FireBody(record.KindHeld, body); ok {
		t.Error("a held message is taken for a fire record")
	}
}

func TestHeldMessageBody(t *testing.T) {
	m := heldSample()
	body := record.AppendMessage(nil, &m)
	of, ok, err := record.MessageBody(record.KindHeld, body)
	if !ok || err != nil {
		t.Fatalf("got %t, %v", ok, err)
	}
	var got record.Message
	if err := record.DecodeMessage(of, &got); err != nil {
		t.Fatal(err)
	}
	got.StreamBytes = nil
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzDecodeFire(f *testing.F) {
	fire := fireSample()
	f.Add(record.AppendFire(nil, &fire))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got record.Fire
		if err := record.DecodeFire(body, &got); err != nil {
			return
		}
		var again record.Fire
		if err := record.DecodeFire(record.AppendFire(nil, &got), &again); err != nil {
			t.Fatalf("decoded, encoded and decoded: %v", err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("-first +second:\n%s", diff)
		}
	})
}
