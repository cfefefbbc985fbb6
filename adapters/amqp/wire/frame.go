package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Frame layout, all integers big-endian:
//
//	type     1 byte   1 method, 2 content header, 3 content body, 8 heartbeat
//	channel  2 bytes
//	size     4 bytes  of the payload
//	payload  size bytes
//	end      1 byte   0xCE
const (
	FrameMethod    byte = 1
	FrameHeader    byte = 2
	FrameBody      byte = 3
	FrameHeartbeat byte = 8

	frameEnd byte = 0xCE
)

const (
	frameHeader = 7

	// FrameOverhead is what a frame adds to its payload.
	FrameOverhead = frameHeader + 1
)

// Protocol is the header by which a client asks for AMQP 0-9-1, and with
// which the server refuses every other one.
const Protocol = "AMQP\x00\x00\x09\x01"

// Errors of decoding. All but ErrSyntax mean that the peer's frames can't be
// followed any more.
var (
	// ErrFrame is a frame with an unknown type, a wrong end or too large a payload.
	ErrFrame = errors.New("malformed frame")
	// ErrSyntax is a method, table or property list that can't be decoded.
	ErrSyntax = errors.New("malformed arguments")
	// ErrUnknownMethod is a method that AMQP 0-9-1 does not have.
	ErrUnknownMethod = errors.New("unknown method")
)

// Frame is one frame. Payload lies in the bytes that were parsed.
type Frame struct {
	Type    byte
	Channel uint16
	Payload []byte
}

// ParseFrame reads the frame at the start of b and returns the bytes it took;
// 0 when b holds only a part of it, and then need is the size of the whole
// frame, or 0 when not even that is known. A payload larger than limit is
// refused as soon as its size is seen.
func ParseFrame(b []byte, limit uint32) (f Frame, n, need int, err error) {
	if len(b) == 0 {
		return Frame{}, 0, 0, nil
	}
	switch b[0] {
	case FrameMethod, FrameHeader, FrameBody, FrameHeartbeat:
	default:
		return Frame{}, 0, 0, fmt.Errorf("%w: unknown type %d", ErrFrame, b[0])
	}
	if len(b) < frameHeader {
		return Frame{}, 0, 0, nil
	}
	size := binary.BigEndian.Uint32(b[3:])
	if size > limit {
		return Frame{}, 0, 0, fmt.Errorf("%w: payload of %d bytes is larger than %d", ErrFrame, size, limit)
	}
	need = frameHeader + int(size) + 1
	if len(b) < need {
		return Frame{}, 0, need, nil
	}
	if end := b[need-1]; end != frameEnd {
		return Frame{}, 0, 0, fmt.Errorf("%w: type %d ends with %d instead of %d", ErrFrame, b[0], end, frameEnd)
	}
	return Frame{
		Type:    b[0],
		Channel: binary.BigEndian.Uint16(b[1:]),
		Payload: b[frameHeader : need-1 : need-1],
	}, need, need, nil
}

// AppendFrame appends a frame with the payload.
func AppendFrame(dst []byte, typ byte, channel uint16, payload []byte) []byte {
	dst = appendFrameHeader(dst, typ, channel, len(payload))
	dst = append(dst, payload...)
	return append(dst, frameEnd)
}

// AppendHeartbeat appends a heartbeat.
func AppendHeartbeat(dst []byte) []byte {
	return append(appendFrameHeader(dst, FrameHeartbeat, 0, 0), frameEnd)
}

func appendFrameHeader(dst []byte, typ byte, channel uint16, size int) []byte {
	dst = append(dst, typ, byte(channel>>8), byte(channel))
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// openFrame begins a frame whose size closeFrame will know.
func openFrame(dst []byte, typ byte, channel uint16) ([]byte, int) {
	start := len(dst)
	return appendFrameHeader(dst, typ, channel, 0), start
}

func closeFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+3:], uint32(len(dst)-start-frameHeader))
	return append(dst, frameEnd)
}
