package wire

import (
	"bytes"
	"unicode/utf8"
)

// MaxLevels is the largest number of levels of a topic or filter.
const MaxLevels = 128

// MaxText is the largest length of a string or binary field in bytes.
const MaxText = 65_535

// ValidText tells whether b is text that MQTT allows: well-formed UTF-8
// without NUL. Surrogates are not well-formed.
func ValidText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// ValidTopic tells whether the text b is a topic name that can be published to.
func ValidTopic(b []byte) bool {
	if len(b) == 0 || len(b) > MaxText {
		return false
	}
	levels := 1
	for _, c := range b {
		switch c {
		case '+', '#', 0:
			return false
		case '/':
			levels++
		}
	}
	return levels <= MaxLevels
}

// ValidFilter tells whether the text f is a topic filter: `+` alone in its
// level, `#` alone in the last one.
func ValidFilter(f string) bool {
	if f == "" || len(f) > MaxText {
		return false
	}
	levels, start := 1, 0
	for i := range len(f) {
		switch f[i] {
		case 0:
			return false
		case '/':
			levels++
			start = i + 1
		case '+':
			if i != start || i+1 < len(f) && f[i+1] != '/' {
				return false
			}
		case '#':
			if i != start || i+1 != len(f) {
				return false
			}
		}
	}
	return levels <= MaxLevels
}

// Unsigned fields and length-prefixed fields are cut off the front of a slice.

func cutUint16(b []byte) (v uint16, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	return uint16(b[0])<<8 | uint16(b[1]), b[2:], true
}

func cutBinary(b []byte) (field, rest []byte, ok bool) {
	n, b, ok := cutUint16(b)
	if !ok || len(b) < int(n) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

func cutText(b []byte) (field, rest []byte, ok bool) {
	field, rest, ok = cutBinary(b)
	return field, rest, ok && ValidText(field)
}

func appendUint16(dst []byte, v uint16) []byte { return append(dst, byte(v>>8), byte(v)) }

func appendUint32(dst []byte, v uint32) []byte {
	return append(dst, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// appendField appends a length-prefixed field, cut to what a length can say.
func appendField[T []byte | string](dst []byte, v T) []byte {
	v = v[:min(len(v), MaxText)]
	dst = appendUint16(dst, uint16(len(v)))
	return append(dst, v...)
}
