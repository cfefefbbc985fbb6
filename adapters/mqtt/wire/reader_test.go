package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// readAll cuts everything that src gives into packets.
func readAll(r *wire.Reader) (bodies [][]byte, err error) {
	for {
		h, body, ok, err := r.Packet()
		if err != nil {
			return bodies, err
		}
		if ok {
			bodies = append(bodies, append([]byte{byte(h.Type)<<4 | h.Flags}, body...))
			continue
		}
		if err := r.Fill(); err != nil {
			return bodies, err
		}
	}
}

func TestReaderCutsPackets(t *testing.T) {
	var stream []byte
	var want [][]byte
	for _, size := range []int{1, 100, 126, 127, 128, 5000, 70_000, 300_000, 3, 2} {
		o := wire.Outgoing{Topic: []byte("t"), Payload: bytes.Repeat([]byte("x"), size)}
		stream = o.Append(stream)
		want = append(want, append([]byte("\x30\x00\x01t"), o.Payload...))
	}
	for name, src := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"halves":       iotest.HalfReader(bytes.NewReader(stream)),
	} {
		got, err := readAll(wire.NewReader(src, 1<<20))
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: got error %v, want EOF", name, err)
		}
		if len(got) != len(want) {
			t.Fatalf("%s: got %d packets, want %d", name, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("%s: packet %d differs", name, i)
			}
		}
	}
}

// A giant length is refused from the header; until then no memory was taken for it.
func TestReaderRefusesFromTheHeader(t *testing.T) {
	r := wire.NewReader(bytes.NewReader([]byte("\x10\xff\xff\xff\x7f")), 64<<10)
	_, err := readAll(r)
	fault, ok := errors.AsType[*wire.Error](err)
	if !ok || fault.Reason != wire.PacketTooLarge {
		t.Errorf("got %v, want packet too large", err)
	}
}

// FuzzReader feeds bytes through the whole reading path: cutting, and decoding
// of every packet type in both versions.
func FuzzReader(f *testing.F) {
	for _, group := range [][]packetTest{publishTests, ackTests, filterTests, endTests, connectTests} {
		for _, test := range group {
			head := []byte{byte(test.kind)<<4 | test.flags, byte(len(test.body))}
			f.Add(append(head, test.body...), test.v5)
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, v5 bool) {
		r := wire.NewReader(bytes.NewReader(stream), 64<<10)
		r.Strict = v5
		for {
			h, body, ok, err := r.Packet()
			if err != nil {
				return
			}
			if !ok {
				if r.Fill() != nil {
					return
				}
				continue
			}
			if h.Type == wire.TypePublish {
				checkRoundTrip(t, h, body, v5)
			}
			_, _ = decode(h.Type, h.Flags, string(body), v5)
		}
	})
}

// checkRoundTrip checks that an accepted PUBLISH without an alias is written
// with the bytes that it was read from.
func checkRoundTrip(t *testing.T, h wire.Header, body []byte, v5 bool) {
	want := bytes.Clone(body)
	var p wire.Publish
	if err := p.Decode(h.Flags, body, v5); err != nil || p.HasAlias {
		return
	}
	o := wire.Outgoing{
		Topic: p.Topic, Properties: p.Properties, Expiry: p.Expiry, Payload: p.Payload,
		PacketID: p.PacketID, QoS: p.QoS, Dup: p.Dup, Retain: p.Retain, V5: v5,
	}
	out := o.Append(nil)
	got, ok, err := wire.ParseHeader(out, true)
	if err != nil || !ok || got.Type != h.Type || got.Flags != h.Flags || !bytes.Equal(out[got.Size:], want) {
		t.Fatalf("got %x, want %x", out, want)
	}
}
