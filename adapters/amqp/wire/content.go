package wire

import (
	"encoding/binary"
	"fmt"
)

// Content header layout: class 2 bytes, weight 2 bytes (0), body size 8 bytes,
// property flags 2 bytes, property list.
const contentHeader = 12

// Header is a content header. Properties are flags and list, unchecked.
type Header struct {
	Class      uint16
	BodySize   uint64
	Properties []byte
}

// ParseHeader reads the payload of a header frame.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < contentHeader+2 {
		return Header{}, fmt.Errorf("%w: content header of %d bytes", ErrSyntax, len(b))
	}
	return Header{
		Class:      binary.BigEndian.Uint16(b),
		BodySize:   binary.BigEndian.Uint64(b[4:]),
		Properties: b[contentHeader:],
	}, nil
}

// AppendContent appends the header frame and the body frames of a content of
// class basic. Bodies are split so that no frame is larger than frameMax (0 is
// no limit); empty properties become no properties.
func AppendContent(dst []byte, channel uint16, frameMax uint32, properties, body []byte) []byte {
	if len(properties) == 0 {
		properties = noProperties[:]
	}
	dst = appendFrameHeader(dst, FrameHeader, channel, contentHeader+len(properties))
	dst = binary.BigEndian.AppendUint32(dst, classBasic<<16)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(body)))
	dst = append(dst, properties...)
	dst = append(dst, frameEnd)
	part := len(body)
	if frameMax > FrameOverhead {
		part = int(frameMax - FrameOverhead)
	}
	for len(body) > 0 {
		n := min(part, len(body))
		dst = AppendFrame(dst, FrameBody, channel, body[:n])
		body = body[n:]
	}
	return dst
}

var noProperties [2]byte
