package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Fire is the body of a KindFire record: a held message is due now. Its properties
// and its payload stay in the record that held it; all else that says where it is
// from here on is here, as a message without these two.
//
//	body uvarint | next uvarint | properties uvarint | payload uvarint | message
//
// The message is the body of a KindMessage record whose properties and payload are
// empty; it has streams, like any other, and tells when it was due. A fire record
// of a rewritten segment (KindPlacedFire) has the places before all that:
//
//	count uvarint | per stream of the message, in its order: place uvarint | fire
type Fire struct {
	// Body is the KindHeld record.
	Body LSN
	// Next is when the message is due again, unix milliseconds; 0 is never.
	Next int64
	// Message has Streams or StreamBytes. Its Body and BodySizes are set by
	// DecodeFire; AppendFire takes the sizes of what it leaves out.
	Message Message
}

// AppendFire appends the body of a KindFire record. It leaves the message as it is.
func AppendFire(dst []byte, f *Fire) []byte {
	m := &f.Message
	dst = binary.AppendUvarint(dst, uint64(f.Body))
	dst = binary.AppendUvarint(dst, uint64(f.Next))
	dst = binary.AppendUvarint(dst, uint64(m.PropertiesSize()))
	dst = binary.AppendUvarint(dst, uint64(m.PayloadSize()))
	properties, payload := m.Properties, m.Payload
	m.Properties, m.Payload = nil, nil
	dst = AppendMessage(dst, m)
	m.Properties, m.Payload = properties, payload
	return dst
}

// DecodeFire reads what AppendFire wrote. The slices of f alias the body; nothing is
// allocated.
func DecodeFire(body []byte, f *Fire) error {
	var ns [4]uint64
	for i := range ns {
		n, size := binary.Uvarint(body)
		if size <= 0 || n > math.MaxInt64 {
			return badFire("numbers")
		}
		ns[i], body = n, body[size:]
	}
	if ns[0] == 0 || ns[2] > math.MaxInt32 || ns[3] > math.MaxInt32 {
		return badFire("body")
	}
	f.Body, f.Next = LSN(ns[0]), int64(ns[1])
	if err := DecodeMessage(body, &f.Message); err != nil {
		return err
	}
	m := &f.Message
	if len(m.Properties)+len(m.Payload) > 0 || m.DeliverAt == 0 {
		return badFire("message")
	}
	m.Body, m.BodySizes = f.Body, [2]int{int(ns[2]), int(ns[3])}
	return nil
}

// AppendPlacedFire appends the body of a KindPlacedFire record: fire is that of the
// KindFire record, as it was.
func AppendPlacedFire(dst []byte, places []Place, fire []byte) []byte {
	return AppendPlaced(dst, places, fire)
}

// SplitPlacedFire takes the body of a KindPlacedFire record apart. The places are
// appended to dst, which may be nil; the fire record aliases the body and is not
// checked.
func SplitPlacedFire(body []byte, dst []Place) (places []Place, fire []byte, err error) {
	return splitPlaces(body, dst)
}

// FireBody returns the body of a fire record, be it of a rewritten segment or not;
// false for records of other kinds.
func FireBody(kind Kind, body []byte) (fire []byte, ok bool, err error) {
	switch kind {
	case KindFire:
		return body, true, nil
	case KindPlacedFire:
		var places [16]Place
		_, fire, err = splitPlaces(body, places[:0])
		return fire, true, err
	default:
		return nil, false, nil
	}
}

// Cancel gives a held message up.
//
//	body uvarint | due uvarint ms | namespace string | schedule string
type Cancel struct {
	Body      LSN   // the KindHeld record
	Due       int64 // unix milliseconds, when it would have been due
	Namespace string
	Schedule  string // its name
}

// AppendCancel appends the body of a KindCancel record.
func AppendCancel(dst []byte, c *Cancel) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Body))
	dst = binary.AppendUvarint(dst, uint64(c.Due))
	dst = appendString(dst, c.Namespace)
	return appendString(dst, c.Schedule)
}

// DecodeCancel reads a KindCancel body.
func DecodeCancel(body []byte, c *Cancel) error {
	r := reader{p: body}
	c.Body, c.Due = LSN(r.uvarint()), int64(r.uvarint())
	c.Namespace, c.Schedule = r.string(), r.string()
	return r.close("cancel")
}

func badFire(what string) error {
	return fmt.Errorf("fire record, %s: %w", what, ErrCorrupt)
}
