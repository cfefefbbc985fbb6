package wire_test

import (
	"bytes"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// repeat is an endless stream of the same bytes.
type repeat struct {
	b  []byte
	at int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.at:])
	r.at = (r.at + n) % len(r.b)
	return n, nil
}

func publishFrames() []byte {
	b := wire.AppendMethod(nil, 1, &wire.BasicPublish{Exchange: []byte("amq.topic"), RoutingKey: []byte("orders.new")})
	p := wire.Properties{
		Flags: wire.FlagContentType | wire.FlagDeliveryMode, ContentType: []byte("application/json"), DeliveryMode: 2,
	}
	return wire.AppendContent(b, 1, 1<<17, p.Append(nil), make([]byte, 256))
}

func BenchmarkParsePublish(b *testing.B) {
	r := wire.NewReader(&repeat{b: bytes.Repeat(publishFrames(), 1000)}, 1<<17)
	var m wire.BasicPublish
	var p wire.Properties
	b.ReportAllocs()
	for b.Loop() {
		for seen := 0; seen < 3; {
			f, ok, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				if err := r.Fill(); err != nil {
					b.Fatal(err)
				}
				continue
			}
			seen++
			switch f.Type {
			case wire.FrameMethod:
				_, args, _ := wire.SplitMethod(f.Payload)
				err = m.Parse(args)
			case wire.FrameHeader:
				h, _ := wire.ParseHeader(f.Payload)
				err = p.Parse(h.Properties)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAppendDeliver(b *testing.B) {
	m := wire.BasicDeliver{ConsumerTag: "ctag", Exchange: []byte("amq.topic"), RoutingKey: []byte("orders.new")}
	body := make([]byte, 256)
	props := []byte{0x10, 0, 2}
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		m.DeliveryTag++
		buf = m.Append(buf[:0], 1)
		buf = wire.AppendContent(buf, 1, 1<<17, props, body)
	}
}
