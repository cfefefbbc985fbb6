package record

import (
	"encoding/binary"
	"fmt"
)

// Returns tells how often messages of a queue had come back. What it says of a
// message holds as the least: a later record may tell more.
//
//	stream u64 | count uvarint | per message, ascending: offset uvarint, times uvarint
//
// offset is a delta from the one behind the message before.
type Returns struct {
	Stream StreamID
	Of     []Returned
}

// Returned is a message and how often it came back.
type Returned struct {
	Offset Offset
	Times  uint32
}

// AppendReturns appends the body of a KindReturns record. Offsets must ascend.
func AppendReturns(dst []byte, r *Returns) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Stream))
	dst = binary.AppendUvarint(dst, uint64(len(r.Of)))
	next := Offset(0)
	for _, m := range r.Of {
		dst = binary.AppendUvarint(dst, uint64(m.Offset-next))
		dst = binary.AppendUvarint(dst, uint64(m.Times))
		next = m.Offset + 1
	}
	return dst
}

// DecodeReturns reads a KindReturns body into to, reusing to.Of.
func DecodeReturns(body []byte, to *Returns) error {
	r := reader{p: body}
	to.Stream, to.Of = StreamID(r.u64()), to.Of[:0]
	next := Offset(0)
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		m := Returned{Offset: next + Offset(r.uvarint())}
		times := r.uvarint()
		if r.err == nil && (times > 1<<32-1 || m.Offset < next) {
			return fmt.Errorf("returns of stream %x: %w", uint64(to.Stream), ErrCorrupt)
		}
		m.Times, next = uint32(times), m.Offset+1
		to.Of = append(to.Of, m)
	}
	return r.close("returns")
}
