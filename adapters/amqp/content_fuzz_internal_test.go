package amqp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// FuzzContent gives a content method, header and body frames in any order and
// size, and compares what it assembles with what was sent.
func FuzzContent(f *testing.F) {
	f.Add([]byte("mh\x00\x03b\x03abc"))
	f.Add([]byte("mh\x00\x05b\x03abcb\x02demh\x00\x00"))
	f.Add([]byte("mh\x00\x05b\x03abcb\x09abcdefghi"))
	f.Fuzz(func(t *testing.T, script []byte) {
		const maxSize = 1 << 12
		var c content
		var sent []byte
		announced := 0
		take := func(n int) []byte {
			n = min(n, len(script))
			out := script[:n]
			script = script[n:]
			return out
		}
		for len(script) > 0 {
			before := c.stage
			var err error
			switch op := take(1)[0]; op {
			case 'm':
				if c.expected() {
					return // the channel refuses it before
				}
				c.reset()
				c.begin(&wire.BasicPublish{Exchange: []byte("amq.topic"), RoutingKey: take(5)})
				sent, announced = nil, 0
			case 'h':
				size := append(make([]byte, 6), append(take(2), 0, 0)[:2]...)
				announced = int(binary.BigEndian.Uint64(size))
				header := append([]byte{0, 60, 0, 0}, size...)
				err = c.header(append(header, 0x80, 0, 2, 'a', 'b'), maxSize) // a content type
				if err == nil && (before != wantHeader || announced > maxSize) {
					t.Fatalf("a header of %d bytes was taken in stage %d", announced, before)
				}
			default:
				piece := take(int(op))
				err = c.body(piece)
				if err == nil && before != wantBody {
					t.Fatalf("a body was taken in stage %d", before)
				}
				sent = append(sent, piece...)
			}
			if err != nil {
				return // and with it the channel
			}
			if len(c.payload) > announced || cap(c.assembly) > 2*len(sent)+64 {
				t.Fatalf("%d bytes held in room for %d, of %d announced and %d sent",
					len(c.payload), cap(c.assembly), announced, len(sent))
			}
			if c.complete() {
				if !bytes.Equal(c.payload, sent) || len(sent) != announced || string(c.names[:c.exchange]) != "amq.topic" ||
					string(c.properties.ContentType) != "ab" {
					t.Fatalf("assembled %q, sent %q", c.payload, sent)
				}
				c.keep()
				if !bytes.Equal(c.payload, sent) {
					t.Fatalf("kept %q, sent %q", c.payload, sent)
				}
			}
		}
	})
}
