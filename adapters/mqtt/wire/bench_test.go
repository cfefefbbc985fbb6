package wire_test

import (
	"bytes"
	"testing"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

var benchProperties = []byte("\x02\x00\x00\x00\x3c\x03\x00\x10application/json\x26\x00\x04unit\x00\x07celsius")

func BenchmarkParsePublish(b *testing.B) {
	for name, v5 := range map[string]bool{"v3": false, "v5": true} {
		b.Run(name, func(b *testing.B) {
			o := wire.Outgoing{
				Topic: []byte("plant/1/line/4/temperature"), Payload: bytes.Repeat([]byte("x"), 256),
				PacketID: 7, QoS: 1, V5: v5,
			}
			if v5 {
				o.Properties, o.Expiry = benchProperties, 60
			}
			packet := o.Append(nil)
			b.ReportAllocs()
			b.SetBytes(int64(len(packet)))
			var p wire.Publish
			for b.Loop() {
				h, _, err := wire.ParseHeader(packet, v5)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Decode(h.Flags, packet[h.Size:], v5); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	for name, v5 := range map[string]bool{"v3": false, "v5": true} {
		b.Run(name, func(b *testing.B) {
			o := wire.Outgoing{
				Topic: []byte("plant/1/line/4/temperature"), Payload: bytes.Repeat([]byte("x"), 256),
				PacketID: 7, QoS: 1, V5: v5,
			}
			if v5 {
				o.Properties, o.Expiry = benchProperties, 60
			}
			buf := make([]byte, 0, 1024)
			b.ReportAllocs()
			b.SetBytes(int64(o.Size()))
			for b.Loop() {
				buf = o.Append(buf[:0])
			}
		})
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	o := wire.Outgoing{
		Topic: []byte("a/b"), Properties: benchProperties, Expiry: 60, Payload: []byte("x"),
		PacketID: 7, QoS: 1, V5: true, Identifiers: []uint32{1},
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = wire.AppendAck(o.Append(buf[:0]), wire.TypePuback, 7, 0, "", true) }); n != 0 {
		t.Errorf("encode: got %v allocations, want 0", n)
	}
	o.Identifiers = nil
	packet := o.Append(nil)
	var p wire.Publish
	var a wire.Ack
	puback := []byte{0, 7}
	n := testing.AllocsPerRun(100, func() {
		h, _, err := wire.ParseHeader(packet, true)
		if err != nil || p.Decode(h.Flags, packet[h.Size:], true) != nil || a.Decode(wire.TypePuback, puback, true) != nil {
			t.Fatal("decode")
		}
	})
	if n != 0 {
		t.Errorf("decode: got %v allocations, want 0", n)
	}
}
