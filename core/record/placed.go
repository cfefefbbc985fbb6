package record

import (
	"encoding/binary"
	"fmt"
)

// Place is where a message stands in one of the streams that it was routed to:
// its offset there plus one, or NoPlace.
type Place uint64

// NoPlace says that the stream does not refer to the message any more, or never
// did.
const NoPlace Place = 0

// PlaceAt returns the place of an offset.
func PlaceAt(o Offset) Place { return Place(o) + 1 }

// Offset returns the offset of the place; false for NoPlace.
func (p Place) Offset() (Offset, bool) { return Offset(p - 1), p != NoPlace }

// AppendPlaced appends the body of a KindPlaced record: a message of a rewritten
// segment with the places that it had in its streams when that was written, so
// that the streams can be found again though records before it are gone.
//
//	count uvarint | per stream of the message, in its order: place uvarint | message
//
// The message is the body of the KindMessage record, as it was. The count is
// that of its streams; a place is the offset plus one, or 0 without a reference
// that was needed.
func AppendPlaced(dst []byte, places []Place, message []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(places)))
	for _, p := range places {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return append(dst, message...)
}

// SplitPlaced takes the body of a KindPlaced record apart. The places are
// appended to dst, which may be nil; the message aliases the body and is not
// checked but for the number of its streams.
func SplitPlaced(body []byte, dst []Place) (places []Place, message []byte, err error) {
	first := len(dst)
	places, message, err = splitPlaces(body, dst)
	if err != nil {
		return dst, nil, err
	}
	return places, message, checkPlaced(uint64(len(places)-first), message)
}

// splitPlaces reads the places before what has them, appending them to dst.
func splitPlaces(body []byte, dst []Place) (places []Place, of []byte, err error) {
	n, size := binary.Uvarint(body)
	if size <= 0 || n > uint64(len(body)-size) { // each takes a byte at least
		return dst, nil, badPlaced("count")
	}
	rest := body[size:]
	for range n {
		p, size := binary.Uvarint(rest)
		if size <= 0 {
			return dst, nil, badPlaced("places")
		}
		dst, rest = append(dst, Place(p)), rest[size:]
	}
	return dst, rest, nil
}

// MessageBody returns the body of the message that a record holds, a KindMessage,
// KindPlaced or KindHeld one; false for records of other kinds. A KindFire record
// holds none: it tells where one is.
func MessageBody(kind Kind, body []byte) (message []byte, ok bool, err error) {
	switch kind {
	case KindMessage, KindHeld:
		return body, true, nil
	case KindPlaced:
		var places [16]Place
		_, message, err = SplitPlaced(body, places[:0])
		return message, true, err
	default:
		return nil, false, nil
	}
}

// checkPlaced tells whether the message has as many streams as there are places.
func checkPlaced(n uint64, message []byte) error {
	if len(message) < 2 {
		return badPlaced("message")
	}
	if streams, size := binary.Uvarint(message[2:]); size <= 0 || streams != n {
		return badPlaced("number of streams")
	}
	return nil
}

func badPlaced(what string) error {
	return fmt.Errorf("placed record, %s: %w", what, ErrCorrupt)
}
