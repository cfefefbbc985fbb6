package record

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Message is the body of a KindMessage record: a message as its publisher sent
// it and the streams it was routed to.
//
//	format u8 | flags u8 | streams uvarint, then u64 each | namespace string |
//	exchange string | key string | properties string | annotations string | payload
//
// A string is its length as uvarint and its bytes; the payload reaches to the
// end of the record. Flags: bits 0 and 1 the QoS, bit 2 retain; the others are
// 0. Annotations are entries, each a tag uvarint and a string, by ascending
// tag; a tag that a reader does not know is skipped:
//
//	1  expire at         i64 unix milliseconds
//	2  once              session u64, id u16
//	3  message id        4  ordering key   5  tag
//	6  priority          7  deliver at     8  transaction id
//	9  origin            session u64
//	10 deadlines         per stream: i64 unix milliseconds, 0 is never
//	11 dead letter       u8 1
//	12 hidden keys       one or more: string
//	13 schedule          string: the name under which a held message is known
//	14 further keys      one or more: string
//	15 repeats           string: when a held message is due again
//
// Tags 3, 5, 6 and 8 are reserved; this version neither writes nor reads them.
// Tags 7 and 13 to 15 are those of messages that are held until they are due,
// see KindHeld and KindFire.
type Message struct {
	Namespace, Exchange, Key, Properties, Payload []byte

	Format Format
	QoS    uint8 // 0 to 2
	Retain bool
	// ExpireAt is the time from which the message is not delivered any more,
	// unix milliseconds; 0 is never.
	ExpireAt int64
	// Deadlines are the times from which the message is not in its streams any
	// more, one per stream and 0 for never, where they are not ExpireAt in all of
	// them. AppendMessage writes them; DecodeMessage leaves it nil and sets
	// DeadlineBytes.
	Deadlines []int64
	// DeadlineBytes are the deadlines as stored, 8 bytes each, see DeadlineAt.
	// AppendMessage writes them when Deadlines is empty.
	DeadlineBytes []byte
	Once          Once
	// Origin is the session that published the message, noted where a
	// subscription wants none of its own; 0 is not noted.
	Origin uint64
	// OrderingKey is what the message is about, noted where a stream that it was
	// routed to is compacted by key; empty when that is Key.
	OrderingKey []byte
	// DeadLetter tells that the broker published the message since it had died in a
	// queue, and wrote that into Properties.
	DeadLetter bool
	// HiddenKeys are further routing keys that Properties do not tell of, as
	// AppendKey appends them.
	HiddenKeys []byte
	// DeliverAt is when a held message is due, or was, unix milliseconds; 0 is that it
	// was never held.
	DeliverAt int64
	// Schedule is the name of a held message in its namespace, if it has one, and
	// Repeats tells when it is due again.
	Schedule, Repeats []byte
	// FurtherKeys are the keys beside Key that a held message is routed by when it is
	// due, as AppendKey appends them.
	FurtherKeys []byte
	// Body is the record that has the properties and the payload of a message that was
	// held, 0 when this one has them; BodySizes are then their sizes. Only DecodeFire
	// sets them.
	Body      LSN
	BodySizes [2]int
	// Streams is where the message was routed to. AppendMessage writes it;
	// DecodeMessage leaves it nil and sets StreamBytes.
	Streams []StreamID
	// StreamBytes are the streams as stored, 8 bytes each, see StreamAt.
	// AppendMessage writes them when Streams is empty.
	StreamBytes []byte
}

// Flags of a message and tags of its annotations.
const (
	messageQoS    = 3
	messageRetain = 4
	messageFlags  = messageQoS | messageRetain

	tagExpireAt = 1
	tagOnce     = 2
	tagOrdering = 4
	tagOrigin   = 9
	tagDeadline = 10
	tagDead     = 11
	tagHidden   = 12
	tagDeliver  = 7
	tagSchedule = 13
	tagFurther  = 14
	tagRepeats  = 15

	deliverSize  = 8
	deadSize     = 1
	expireAtSize = 8
	onceSize     = 10
	originSize   = 8
	deadlineSize = 8
)

// NumStreams is the number of streams of a decoded message.
func (m *Message) NumStreams() int { return len(m.StreamBytes) / 8 }

// StreamAt returns stream i of a decoded message; i must be below NumStreams.
func (m *Message) StreamAt(i int) StreamID {
	return StreamID(binary.LittleEndian.Uint64(m.StreamBytes[8*i:]))
}

// DeadlineAt returns the time from which a decoded message is not in stream i any
// more, unix milliseconds; 0 is never.
func (m *Message) DeadlineAt(i int) int64 {
	if len(m.DeadlineBytes) == 0 {
		return m.ExpireAt
	}
	return int64(binary.LittleEndian.Uint64(m.DeadlineBytes[deadlineSize*i:]))
}

// PropertiesSize is how many bytes of properties the message has, wherever they are.
func (m *Message) PropertiesSize() int {
	if m.Body != 0 {
		return m.BodySizes[0]
	}
	return len(m.Properties)
}

// PayloadSize is how long the payload of the message is, wherever it is.
func (m *Message) PayloadSize() int {
	if m.Body != 0 {
		return m.BodySizes[1]
	}
	return len(m.Payload)
}

// AppendMessage appends the body of a KindMessage record.
func AppendMessage(dst []byte, m *Message) []byte {
	flags := m.QoS & messageQoS
	if m.Retain {
		flags |= messageRetain
	}
	dst = append(dst, byte(m.Format), flags)
	if len(m.Streams) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(m.Streams)))
		for _, s := range m.Streams {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(s))
		}
	} else {
		dst = binary.AppendUvarint(dst, uint64(m.NumStreams()))
		dst = append(dst, m.StreamBytes[:8*m.NumStreams()]...)
	}
	dst = appendString(dst, m.Namespace)
	dst = appendString(dst, m.Exchange)
	dst = appendString(dst, m.Key)
	dst = appendString(dst, m.Properties)
	dst = appendAnnotations(dst, m)
	return append(dst, m.Payload...)
}

func appendAnnotations(dst []byte, m *Message) []byte {
	size := 0
	if m.ExpireAt != 0 {
		size += 2 + expireAtSize
	}
	if m.Once.Session != 0 {
		size += 2 + onceSize
	}
	if n := len(m.OrderingKey); n > 0 {
		size += 1 + uvarintSize(uint64(n)) + n
	}
	if m.Origin != 0 {
		size += 2 + originSize
	}
	deadlines := deadlineSize * len(m.Deadlines)
	if deadlines == 0 {
		deadlines = len(m.DeadlineBytes)
	}
	if deadlines > 0 {
		size += 1 + uvarintSize(uint64(deadlines)) + deadlines
	}
	if m.DeadLetter {
		size += 2 + deadSize
	}
	for _, p := range [...][]byte{m.HiddenKeys, m.Schedule, m.FurtherKeys, m.Repeats} {
		if n := len(p); n > 0 {
			size += 1 + uvarintSize(uint64(n)) + n
		}
	}
	if m.DeliverAt != 0 {
		size += 2 + deliverSize
	}
	dst = binary.AppendUvarint(dst, uint64(size))
	if m.ExpireAt != 0 {
		dst = append(dst, tagExpireAt, expireAtSize)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.ExpireAt))
	}
	if m.Once.Session != 0 {
		dst = append(dst, tagOnce, onceSize)
		dst = AppendOnce(dst, m.Once)
	}
	if len(m.OrderingKey) > 0 {
		dst = appendString(append(dst, tagOrdering), m.OrderingKey)
	}
	if m.DeliverAt != 0 {
		dst = append(dst, tagDeliver, deliverSize)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.DeliverAt))
	}
	if m.Origin != 0 {
		dst = append(dst, tagOrigin, originSize)
		dst = binary.LittleEndian.AppendUint64(dst, m.Origin)
	}
	if deadlines > 0 {
		dst = binary.AppendUvarint(append(dst, tagDeadline), uint64(deadlines))
		dst = appendDeadlines(dst, m)
	}
	if m.DeadLetter {
		dst = append(dst, tagDead, deadSize, 1)
	}
	if len(m.HiddenKeys) > 0 {
		dst = appendString(append(dst, tagHidden), m.HiddenKeys)
	}
	if len(m.Schedule) > 0 {
		dst = appendString(append(dst, tagSchedule), m.Schedule)
	}
	if len(m.FurtherKeys) > 0 {
		dst = appendString(append(dst, tagFurther), m.FurtherKeys)
	}
	if len(m.Repeats) > 0 {
		dst = appendString(append(dst, tagRepeats), m.Repeats)
	}
	return dst
}

// AppendKey appends a routing key to hidden keys.
func AppendKey(dst, key []byte) []byte { return appendString(dst, key) }

// CutKey cuts the first of the hidden keys off; ok is false behind the last.
func CutKey(keys []byte) (key, rest []byte, ok bool) { return cutString(keys) }

// areKeys tells whether p is keys as AppendKey appends them, at least one.
func areKeys(p []byte) bool {
	ok := len(p) > 0
	for ok && len(p) > 0 {
		_, p, ok = cutString(p)
	}
	return ok
}

func appendDeadlines(dst []byte, m *Message) []byte {
	if len(m.Deadlines) == 0 {
		return append(dst, m.DeadlineBytes...)
	}
	for _, at := range m.Deadlines {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(at))
	}
	return dst
}

// DecodeMessage reads a KindMessage body. The slices of m alias the body;
// nothing is allocated. On an error the contents of m are undefined.
func DecodeMessage(body []byte, m *Message) error {
	*m = Message{}
	if len(body) < 2 {
		return badMessage("header")
	}
	flags := body[1]
	if flags&^messageFlags != 0 || flags&messageQoS == 3 {
		return badMessage("flags")
	}
	m.Format, m.QoS, m.Retain = Format(body[0]), flags&messageQoS, flags&messageRetain != 0
	n, size := binary.Uvarint(body[2:])
	if size <= 0 || n > uint64(len(body)-2-size)/8 {
		return badMessage("streams")
	}
	rest := body[2+size:]
	m.StreamBytes, rest = rest[:8*n:8*n], rest[8*n:]

	var ok bool
	for _, field := range [...]*[]byte{&m.Namespace, &m.Exchange, &m.Key, &m.Properties} {
		if *field, rest, ok = cutString(rest); !ok {
			return badMessage("strings")
		}
	}
	annotations, payload, ok := cutString(rest)
	if !ok {
		return badMessage("annotations")
	}
	m.Payload = payload
	return m.annotate(annotations)
}

// annotate reads the annotations that this version knows.
func (m *Message) annotate(p []byte) error {
	last := uint64(0)
	for len(p) > 0 {
		tag, size := binary.Uvarint(p)
		if size <= 0 || tag <= last {
			return badMessage("annotation tag")
		}
		value, rest, ok := cutString(p[size:])
		if !ok {
			return badMessage("annotation")
		}
		switch {
		case tag == tagExpireAt && len(value) == expireAtSize:
			m.ExpireAt = int64(binary.LittleEndian.Uint64(value))
		case tag == tagOnce && len(value) == onceSize:
			m.Once = Once{binary.LittleEndian.Uint64(value), binary.LittleEndian.Uint16(value[8:])}
		case tag == tagOrdering && len(value) > 0:
			m.OrderingKey = value
		case tag == tagOrigin && len(value) == originSize:
			m.Origin = binary.LittleEndian.Uint64(value)
		case tag == tagDeadline && len(value) == deadlineSize*m.NumStreams():
			m.DeadlineBytes = value
		case tag == tagDead && len(value) == deadSize && value[0] == 1:
			m.DeadLetter = true
		case tag == tagHidden && areKeys(value):
			m.HiddenKeys = value
		case tag == tagDeliver && len(value) == deliverSize:
			m.DeliverAt = int64(binary.LittleEndian.Uint64(value))
		case tag == tagSchedule && len(value) > 0:
			m.Schedule = value
		case tag == tagFurther && areKeys(value):
			m.FurtherKeys = value
		case tag == tagRepeats && len(value) > 0:
			m.Repeats = value
		case tag <= tagOnce || tag == tagOrdering || tag == tagDeliver || tag >= tagOrigin && tag <= tagRepeats:
			return badMessage("annotation length")
		}
		if (tag == tagExpireAt && m.ExpireAt == 0) || (tag == tagOnce && m.Once.Session == 0) ||
			(tag == tagDeliver && m.DeliverAt <= 0) ||
			(tag == tagOrigin && m.Origin == 0) || (tag == tagDeadline && len(value) == 0) {
			return badMessage("annotation without a value")
		}
		last, p = tag, rest
	}
	return nil
}

// uvarintSize is how many bytes a number takes.
func uvarintSize(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// cutString cuts a string off the front of p.
func cutString(p []byte) (s, rest []byte, ok bool) {
	n, size := binary.Uvarint(p)
	if size <= 0 || n > uint64(len(p)-size) {
		return nil, nil, false
	}
	p = p[size:]
	return p[:n:n], p[n:], true
}

func badMessage(what string) error {
	return fmt.Errorf("message record, %s: %w", what, ErrCorrupt)
}
