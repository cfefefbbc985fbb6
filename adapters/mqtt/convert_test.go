package mqtt

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core"
)

func TestPropertiesBothWays(t *testing.T) {
	in := core.Properties{
		ContentType: "application/json", ContentEncoding: "gzip", CorrelationID: []byte{0, 1, 0xff},
		ReplyTo: "q.reply", ResponseTopic: "a/b.c", MessageID: "m-1", Type: "order", AppID: "shop", UserID: "alice",
		HasPriority: true, Priority: 7, HasTimestamp: true, Timestamp: 1_700_000_000,
		HasExpiry: true, Expiry: 42 * time.Second, HasPayloadFormat: true, PayloadFormat: 1,
		Headers: []core.Header{{Name: "b", Value: "2"}, {Name: "a", Value: "1"}, {Name: "b", Value: "3"}},
	}
	got, err := Properties(encodeProperties(&in, true))
	if err != nil {
		t.Fatal(err)
	}
	in.Expiry = 0 // filled in when it is sent
	// A user that an MQTT client names is no user_id that a broker has checked.
	in.Headers = append(in.Headers, core.Header{Name: "x-user-id", Value: in.UserID})
	in.UserID = ""
	if diff := cmp.Diff(in, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

func TestHeadersOfOtherTypes(t *testing.T) {
	in := core.Properties{Headers: []core.Header{
		{Name: "int", Value: int64(-5)},
		{Name: "uint", Value: uint64(5)},
		{Name: "float", Value: 1.5},
		{Name: "true", Value: true},
		{Name: "void", Value: nil},
		{Name: "bytes", Value: []byte("text")},
		{Name: "time", Value: time.Unix(9, 0)},
		{Name: "table", Value: []core.Header{}},
		{Name: "list", Value: []any{}},
		{Name: "binary", Value: []byte{0xff}},
		{Name: "nul", Value: "a\x00"},
		{Name: "x-correlation-id", Value: "c"},
		{Name: "x-reply-to-topic", Value: "a.b/c"},
		{Name: "x-payload-format", Value: "1"},
	}}
	got, err := Properties(encodeProperties(&in, false))
	if err != nil {
		t.Fatal(err)
	}
	want := core.Properties{
		CorrelationID: []byte("c"), ResponseTopic: "a/b.c", HasPayloadFormat: true, PayloadFormat: 1,
		Headers: []core.Header{
			{Name: "int", Value: "-5"},
			{Name: "uint", Value: "5"},
			{Name: "float", Value: "1.5"},
			{Name: "true", Value: "true"},
			{Name: "void", Value: ""},
			{Name: "bytes", Value: "text"},
			{Name: "time", Value: "9"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

func TestUserPropertiesThatDoNotFit(t *testing.T) {
	in := core.Properties{MessageID: "first", Headers: []core.Header{
		{Name: "x-priority", Value: "256"}, {Name: "x-timestamp", Value: "soon"}, {Name: "x-message-id", Value: "second"},
	}}
	got, err := Properties(encodeProperties(&in, false))
	if err != nil {
		t.Fatal(err)
	}
	// Headers come before the named properties, so the first of a name wins.
	want := core.Properties{MessageID: "second", Headers: []core.Header{
		{Name: "x-priority", Value: "256"}, {Name: "x-timestamp", Value: "soon"}, {Name: "x-message-id", Value: "first"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

func TestSwapKeyIsItsOwnInverse(t *testing.T) {
	for topic, key := range map[string]string{"a/b": "a.b", "a.b/c": "a/b.c", "": "", "ü/%": "ü.%"} {
		if got := string(swapKey([]byte(topic))); got != key {
			t.Errorf("topic %q: got key %q, want %q", topic, got, key)
		}
		if got := string(swapKey([]byte(key))); got != topic {
			t.Errorf("key %q: got topic %q, want %q", key, got, topic)
		}
	}
}

func TestRefusedFeatures(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"x-delay", "1000", ""},
		{"x-schedule", "@every 5m", "x-schedule"},
		{"x-schedule-id", "7", ""},
		{"x-txn", "prepare", "x-txn"},
		{"x-tag", "blue", ""},
		{"x-message-id", "7", ""},
	} {
		props := encodeProperties(&core.Properties{
			ContentType: "text/plain", Headers: []core.Header{{Name: test.name, Value: test.value}},
		}, true)
		if got := refusedFeature(props); got != test.want {
			t.Errorf("%s: %s: refused %q, want %q", test.name, test.value, got, test.want)
		}
	}
}
