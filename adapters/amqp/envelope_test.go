package amqp

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

func decode(t *testing.T, b []byte) core.Properties {
	t.Helper()
	p, err := Properties(b)
	if err != nil {
		t.Fatalf("properties: %v", err)
	}
	return p
}

// What has a place in both protocols survives the way to AMQP and back.
func TestNeutralRoundTrip(t *testing.T) {
	full := core.Properties{
		ContentType: "application/json", ContentEncoding: "gzip", CorrelationID: []byte("id"), ReplyTo: "q",
		ResponseTopic: "a.b/c", MessageID: "m", Type: "t", AppID: "a", UserID: "u", Persistent: true,
		HasPriority: true, Priority: 3, HasTimestamp: true, Timestamp: 1_700_000_000,
		HasExpiry: true, Expiry: 90 * time.Second, HasPayloadFormat: true, PayloadFormat: 1,
		Headers: []core.Header{
			{Name: "a", Value: "text"},
			{Name: "b", Value: int64(-1)},
			{Name: "c", Value: 0.5},
			{Name: "d", Value: true},
			{Name: "e", Value: nil},
			{Name: "f", Value: time.Unix(5, 0).UTC()},
			{Name: "g", Value: []byte{1}},
			{Name: "h", Value: []any{"x", int64(1)}},
			{Name: "i", Value: []core.Header{{Name: "in", Value: "side"}}},
		},
	}
	for name, want := range map[string]core.Properties{
		"full":               full,
		"empty":              {},
		"binary correlation": {CorrelationID: []byte{0xFF, 0}, Persistent: true},
		"long correlation":   {CorrelationID: make([]byte, 300)},
		"empty correlation":  {CorrelationID: []byte{}},
	} {
		mode := uint8(1)
		if want.Persistent {
			mode = 2
		}
		got := decode(t, appendNeutral(nil, &want, mode))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", name, diff)
		}
	}
}

func TestNeutralThatAMQPCannotCarry(t *testing.T) {
	long := string(make([]byte, 256))
	got := decode(t, appendNeutral(nil, &core.Properties{
		ContentType: "text/plain; name=é",
		MessageID:   long,
		Headers: []core.Header{
			{Name: "b", Value: "first"}, {Name: "a", Value: "sorted"}, {Name: "b", Value: "second"}, {Name: long, Value: "x"},
		},
	}, 1))
	want := core.Properties{Headers: []core.Header{{Name: "a", Value: "sorted"}, {Name: "b", Value: "first"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestPropertiesRefusesWhatIsMalformed(t *testing.T) {
	if _, err := Properties([]byte{0x80, 0, 5, 'a'}); err == nil {
		t.Error("malformed properties were read")
	}
	if p := decode(t, nil); p.Headers != nil {
		t.Errorf("no properties: got %+v", p)
	}
}

func FuzzProperties(f *testing.F) {
	p := wire.Properties{
		Flags:      wire.FlagHeaders | wire.FlagExpiration | wire.FlagCorrelationID,
		Headers:    wire.EncodeTable([]wire.Field{{Name: "x-reply-to-topic", Value: "a.b"}, {Name: "D", Value: wire.Decimal{Scale: 255}}}),
		Expiration: []byte("10"), CorrelationID: []byte{0xFF},
	}
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		neutral, err := Properties(b)
		if err != nil {
			return
		}
		var again wire.Properties
		if err := again.Parse(appendNeutral(nil, &neutral, 1)); err != nil {
			t.Errorf("translated properties are malformed: %v", err)
		}
	})
}

func TestKeys(t *testing.T) {
	for topic, key := range map[string]string{
		"a/b": "a.b", "a.b/c": "a/b.c", "": "", "/": ".", "ä/ö": "ä.ö",
	} {
		if got := string(appendSwapped(nil, []byte(topic))); got != key {
			t.Errorf("%s: got %s, want %s", topic, got, key)
		}
		if got := swapNames(key); got != topic {
			t.Errorf("%s back: got %s, want %s", key, got, topic)
		}
	}
	long := append(make([]byte, 254), "é"...)
	if got := clipKey(long); len(got) != 254 {
		t.Errorf("clipped key has %d bytes, want 254", len(got))
	}
}

func TestParseExpiration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "1000": time.Second, "007": 7 * time.Millisecond, "+5": 5 * time.Millisecond,
		"315360000000": longestTerm, "0315360000000": longestTerm,
	} {
		if got, reason := parseExpiration([]byte(text)); got != want || reason != "" {
			t.Errorf("%s: got %v, %s", text, got, reason)
		}
	}
	for text, want := range map[string]string{
		"": "no_integer", "abc": "no_integer", "-": "no_integer", "-1": "{value_negative,-1}",
		"315360000001": "{value_too_large,315360000001}", "+0315360000001": "{value_too_large,315360000001}",
		"99999999999999999999999999": "{value_too_large,99999999999999999999999999}",
		"1.5":                        `{leftover_string,".5"}`, "1s": `{leftover_string,"s"}`,
	} {
		if _, reason := parseExpiration([]byte(text)); reason != want {
			t.Errorf("%q: got %s, want %s", text, reason, want)
		}
	}
}
