package wire

import (
	"bytes"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// decodeWith runs one of mochi's decoders on a private copy of body, because
// its strings alias their input, and turns a panic into an error: what a peer
// sends must never take the process down.
func decodeWith(t Type, flags byte, body []byte, v5 bool, fn func(*packets.Packet, []byte) error) (pk *packets.Packet, err error) {
	defer func() {
		if r := recover(); r != nil {
			pk, err = nil, malformed(fmt.Sprintf("packet of type %d", t))
		}
	}()
	pk = &packets.Packet{FixedHeader: packets.FixedHeader{
		Type: byte(t), Qos: flags >> 1 & 3, Remaining: len(body),
	}, ProtocolVersion: 4}
	if v5 {
		pk.ProtocolVersion = 5
	}
	if err := fn(pk, bytes.Clone(body)); err != nil {
		return nil, &Error{Reason: MalformedPacket, Detail: err.Error()}
	}
	return pk, nil
}

// encodeWith appends what one of mochi's encoders writes.
func encodeWith(dst []byte, t Type, v5 bool, pk *packets.Packet, fn func(*packets.Packet, *bytes.Buffer) error) ([]byte, error) {
	pk.FixedHeader.Type = byte(t)
	pk.ProtocolVersion = 4
	if v5 {
		pk.ProtocolVersion = 5
	}
	var buf bytes.Buffer
	if err := fn(pk, &buf); err != nil {
		return dst, fmt.Errorf("encode packet of type %d: %w", t, err)
	}
	return append(dst, buf.Bytes()...), nil
}
