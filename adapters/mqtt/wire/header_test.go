package wire_test

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// legalFlags are the fixed header flags that each packet type may have.
func legalFlags(t wire.Type) map[byte]bool {
	switch t {
	case 0:
		return nil
	case wire.TypePublish: // QoS 3, and DUP at QoS 0, are illegal
		return map[byte]bool{0: true, 1: true, 2: true, 3: true, 4: true, 5: true, 10: true, 11: true, 12: true, 13: true}
	case wire.TypePubrel, wire.TypeSubscribe, wire.TypeUnsubscribe:
		return map[byte]bool{2: true}
	default:
		return map[byte]bool{0: true}
	}
}

func TestHeaderEveryTypeAndFlag(t *testing.T) {
	for kind := range wire.Type(16) {
		for flags := range byte(16) {
			h, ok, err := wire.ParseHeader([]byte{byte(kind)<<4 | flags, 5}, true)
			if want := legalFlags(kind)[flags]; (err == nil) != want || ok != want {
				t.Errorf("type %d flags %x: got ok %v, err %v, want legal %v", kind, flags, ok, err, want)
			}
			if ok && (h.Type != kind || h.Flags != flags || h.Size != 2 || h.Length != 5) {
				t.Errorf("type %d flags %x: got %+v", kind, flags, h)
			}
		}
	}
}

func TestHeaderLength(t *testing.T) {
	tests := []struct {
		in     string
		strict bool
		length int
		size   int
		ok     bool
		err    bool
	}{
		{in: ""},
		{in: "\xc0"},
		{in: "\xc0\x80"},
		{in: "\xc0\xff\xff\xff"},
		{in: "\xc0\x7f", length: 127, size: 2, ok: true},
		{in: "\xc0\x80\x01", length: 128, size: 3, ok: true},
		{in: "\xc0\xff\xff\xff\x7f", length: wire.MaxLength, size: 5, ok: true},
		{in: "\xc0\x80\x80\x80\x80", err: true},
		{in: "\xc0\xff\xff\xff\xff\x01", err: true},
		{in: "\xc0\x80\x00", length: 0, size: 3, ok: true},
		{in: "\xc0\x80\x00", strict: true, err: true},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%x strict=%v", test.in, test.strict), func(t *testing.T) {
			h, ok, err := wire.ParseHeader([]byte(test.in), test.strict)
			if ok != test.ok || (err != nil) != test.err || h.Length != test.length && ok || h.Size != test.size && ok {
				t.Errorf("got %+v, %v, %v, want length %d, size %d, %v, error %v",
					h, ok, err, test.length, test.size, test.ok, test.err)
			}
		})
	}
}
