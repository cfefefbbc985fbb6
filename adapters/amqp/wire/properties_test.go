package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

var allProperties = wire.Properties{
	Flags:           0xFFFC,
	ContentType:     []byte("text/plain"),
	ContentEncoding: []byte("utf-8"),
	Headers:         wire.EncodeTable(allTypes),
	DeliveryMode:    2,
	Priority:        9,
	CorrelationID:   []byte{0xFF},
	ReplyTo:         []byte("reply"),
	Expiration:      []byte("1000"),
	MessageID:       []byte("id"),
	Timestamp:       1_700_000_000,
	Type:            []byte("type"),
	UserID:          []byte("guest"),
	AppID:           []byte("app"),
	ClusterID:       []byte("cluster"),
}

func TestPropertiesRoundTrip(t *testing.T) {
	for flags := uint32(0); flags < 1<<16; flags += 4 {
		p := allProperties
		p.Flags = uint16(flags)
		b := p.Append(nil)
		var got wire.Properties
		if err := got.Parse(b); err != nil {
			t.Fatalf("flags %#x: %v", flags, err)
		}
		if again := got.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("flags %#x: got %x, want %x", flags, again, b)
		}
	}
	var got wire.Properties
	if err := got.Parse(allProperties.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allProperties, got); diff != "" {
		t.Errorf("properties: want (-), got (+):\n%s", diff)
	}
}

func TestPropertiesRefusals(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"continuation":     "0001",
		"unused flag":      "0002",
		"string cut off":   "80000561",
		"no delivery mode": "1000",
		"rest":             "000000",
		"bad header":       "20000000000301417a",
		"giant header":     "2000ffffffff",
	} {
		b, _ := hex.DecodeString(text)
		var p wire.Properties
		if err := p.Parse(b); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: got %v, want ErrSyntax", name, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add(allProperties.Append(nil))
	f.Add([]byte{0x10, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p wire.Properties
		if p.Parse(b) != nil {
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("got %x, want %x", again, b)
		}
	})
}
