package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Field is a decoded field of a table. Each tag has a Go type of its own, so
// that what was decoded is encoded as it was: t bool, b int8, B uint8, s
// int16, u uint16, I int32, i uint32, l int64, L uint64, f float32, d
// float64, D [Decimal], S string, x []byte, A []any, F []Field, T
// [Timestamp], V nil.
type Field struct {
	Name  string
	Value any
}

// Decimal is Value divided by ten to the power of Scale.
type Decimal struct {
	Scale uint8
	Value uint32
}

// Timestamp counts seconds since 1970.
type Timestamp uint64

// decodeValue decodes a value that lies depth levels below the outermost table.
func decodeValue(tag byte, b []byte, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: tables nested deeper than %d", ErrSyntax, maxDepth)
	}
	switch tag {
	case 't':
		return b[0] != 0, nil
	case 'b':
		return int8(b[0]), nil
	case 'B':
		return b[0], nil
	case 's':
		return int16(binary.BigEndian.Uint16(b)), nil
	case 'u':
		return binary.BigEndian.Uint16(b), nil
	case 'I':
		return int32(binary.BigEndian.Uint32(b)), nil
	case 'i':
		return binary.BigEndian.Uint32(b), nil
	case 'l':
		return int64(binary.BigEndian.Uint64(b)), nil
	case 'L':
		return binary.BigEndian.Uint64(b), nil
	case 'f':
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case 'd':
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case 'D':
		return Decimal{Scale: b[0], Value: binary.BigEndian.Uint32(b[1:])}, nil
	case 'S':
		return string(b), nil
	case 'x':
		return append([]byte{}, b...), nil
	case 'A':
		return decodeArray(b, depth)
	case 'F':
		return decodeFields(b, depth)
	case 'T':
		return Timestamp(binary.BigEndian.Uint64(b)), nil
	case 'V':
		return nil, nil
	}
	return nil, fmt.Errorf("%w: unknown field type %q", ErrSyntax, tag)
}

// appendValue appends the tag and the value. A value of a type that tables do
// not have becomes V.
func appendValue(dst []byte, v any) []byte {
	be := binary.BigEndian
	switch v := v.(type) {
	case bool:
		return append(dst, 't', bits(v))
	case int8:
		return append(dst, 'b', byte(v))
	case uint8:
		return append(dst, 'B', v)
	case int16:
		return be.AppendUint16(append(dst, 's'), uint16(v))
	case uint16:
		return be.AppendUint16(append(dst, 'u'), v)
	case int32:
		return be.AppendUint32(append(dst, 'I'), uint32(v))
	case uint32:
		return be.AppendUint32(append(dst, 'i'), v)
	case int64:
		return be.AppendUint64(append(dst, 'l'), uint64(v))
	case uint64:
		return be.AppendUint64(append(dst, 'L'), v)
	case float32:
		return be.AppendUint32(append(dst, 'f'), math.Float32bits(v))
	case float64:
		return be.AppendUint64(append(dst, 'd'), math.Float64bits(v))
	case Decimal:
		return be.AppendUint32(append(dst, 'D', v.Scale), v.Value)
	case string:
		return appendLongstr(append(dst, 'S'), v)
	case []byte:
		return appendLongstr(append(dst, 'x'), v)
	case []any:
		return appendArray(append(dst, 'A'), v)
	case []Field:
		return appendTable(append(dst, 'F'), v)
	case Timestamp:
		return be.AppendUint64(append(dst, 'T'), uint64(v))
	}
	return append(dst, 'V')
}

func appendArray(dst []byte, values []any) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, v := range values {
		dst = appendValue(dst, v)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}
