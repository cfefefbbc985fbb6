package record

import (
	"encoding/binary"
	"fmt"
)

// Kind tells what a record is. The numbers are part of the log's format.
type Kind uint8

// The kinds of records. The state of a shard is a fold over them in log order.
const (
	KindMessage          Kind = 1  // a message and the streams it was routed to, see Message
	KindAck              Kind = 2  // settled ranges of a cursor, see Ack
	KindStreamCreate     Kind = 3  // a durable stream begins, see Stream
	KindStreamDrop       Kind = 4  // a stream and its cursors end, see CursorRef
	KindCursorCreate     Kind = 5  // a durable cursor begins at the stream's end, see CursorRef
	KindCursorDrop       Kind = 6  // a cursor ends, see CursorRef
	KindDelivered        Kind = 7  // offsets below the bound may have been delivered, see CursorRef
	KindSession          Kind = 8  // a session's state, see Session
	KindSessionDrop      Kind = 9  // a session ends with all it holds, see Session
	KindSubscription     Kind = 10 // a session's subscription, see Subscription
	KindSubscriptionDrop Kind = 11 // a subscription ends, see Subscription
	KindValue            Kind = 12 // an adapter's value kept with a session, or a will, see Value
	KindRelease          Kind = 13 // an exactly-once number is free again, see Once
	KindTruncate         Kind = 14 // a stream queue begins later from now on, see Truncate
	KindGroup            Kind = 15 // a consumer group's cursor begins, see Group
	KindSeek             Kind = 16 // a group's cursor goes to another offset, see CursorRef
	KindCompact          Kind = 17 // superseded messages leave a stream queue, see Compact
	KindForget           Kind = 18 // old tombstones leave a stream queue, see Forget
	KindTransfer         Kind = 19 // decides what takes effect in another shard too, see Transfer
	KindTransferred      Kind = 20 // another shard's transfer has taken effect here, see TransferRef
	KindTransferDone     Kind = 21 // a transfer has taken effect in the other shard, see TransferRef
	KindHeld             Kind = 22 // a message that is held until it is due, see Message and Fire
	KindFire             Kind = 23 // a held message is due: the streams that it is routed to, see Fire
	KindCancel           Kind = 24 // a held message is given up, see Cancel
	KindReturns          Kind = 28 // messages of a queue came back, see Returns
	KindLoss             Kind = 30 // records were lost here and given up, see Loss

	// KindPlaced is a message of a rewritten segment, see AppendPlaced. Kinds from
	// 32 on are never appended to a log, only written when it is rewritten.
	KindPlaced Kind = 32
	// KindPlacedFire is a fire record of a rewritten segment: likewise with the places
	// that the message has in its streams.
	KindPlacedFire Kind = 33
)

// Range is a half-open range of offsets.
type Range struct{ First, End Offset }

// Ack settles ranges of a cursor. Cursor 0 is a queue's only cursor.
//
//	stream u64 | cursor u64 | count uvarint | per range: first uvarint, length uvarint
//
// first is a delta from the end of the range before.
type Ack struct {
	Stream StreamID
	Cursor uint64
	Ranges []Range
}

// AppendAck appends the body of a KindAck record. Ranges must ascend.
func AppendAck(dst []byte, a *Ack) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Stream))
	dst = binary.LittleEndian.AppendUint64(dst, a.Cursor)
	dst = binary.AppendUvarint(dst, uint64(len(a.Ranges)))
	last := Offset(0)
	for _, r := range a.Ranges {
		dst = binary.AppendUvarint(dst, uint64(r.First-last))
		dst = binary.AppendUvarint(dst, uint64(r.End-r.First))
		last = r.End
	}
	return dst
}

// DecodeAck reads a KindAck body into a, reusing a.Ranges.
func DecodeAck(body []byte, a *Ack) error {
	r := reader{p: body}
	a.Stream, a.Cursor = StreamID(r.u64()), r.u64()
	n := r.uvarint()
	a.Ranges = a.Ranges[:0]
	last := Offset(0)
	for i := uint64(0); i < n && r.err == nil; i++ {
		first := last + Offset(r.uvarint())
		last = first + Offset(r.uvarint())
		if first > last {
			r.err = ErrCorrupt
		}
		a.Ranges = append(a.Ranges, Range{first, last})
	}
	return r.close("ack")
}

// Stream describes a stream at its creation.
//
//	stream u64 | flags u8 (1: filter, 2: kept, 4: compacted) | namespace string | name string
type Stream struct {
	ID        StreamID
	Filter    bool // a stream of an MQTT filter; else a queue
	Kept      bool // a stream queue: messages stay although they were consumed
	Compacted bool // a kept one of which the last message of each key stays
	Namespace string
	Name      string // of the queue, or the filter
}

// AppendStream appends the body of a KindStreamCreate record.
func AppendStream(dst []byte, s *Stream) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.ID))
	dst = append(dst, flag(s.Filter, 1)|flag(s.Kept, 2)|flag(s.Compacted, 4))
	dst = appendString(dst, s.Namespace)
	return appendString(dst, s.Name)
}

// DecodeStream reads a KindStreamCreate body.
func DecodeStream(body []byte, s *Stream) error {
	r := reader{p: body}
	s.ID = StreamID(r.u64())
	flags := r.u8()
	s.Filter, s.Kept, s.Compacted = flags&1 != 0, flags&2 != 0, flags&4 != 0
	s.Namespace, s.Name = r.string(), r.string()
	return r.close("stream")
}

// CursorRef names a cursor, with an offset where the kind has one.
//
//	stream u64 | cursor u64 | offset uvarint
type CursorRef struct {
	Stream StreamID
	Cursor uint64
	Offset Offset
}

// AppendCursorRef appends the body of a KindStreamDrop, KindCursorCreate,
// KindCursorDrop or KindDelivered record.
func AppendCursorRef(dst []byte, c CursorRef) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Stream))
	dst = binary.LittleEndian.AppendUint64(dst, c.Cursor)
	return binary.AppendUvarint(dst, uint64(c.Offset))
}

// DecodeCursorRef reads what AppendCursorRef wrote.
func DecodeCursorRef(body []byte) (CursorRef, error) {
	r := reader{p: body}
	c := CursorRef{StreamID(r.u64()), r.u64(), Offset(r.uvarint())}
	return c, r.close("cursor")
}

// Session is the durable state of a session but for its subscriptions and values.
//
//	id u64 | expiry uvarint ms | disconnected uvarint ms | namespace | client | owner
type Session struct {
	ID           uint64
	Expiry       uint64 // milliseconds after disconnect; MaxUint64 is never
	Disconnected int64  // unix milliseconds; 0 while a connection has it
	Namespace    string
	Client       string
	Owner        string
}

// AppendSession appends the body of a KindSession or KindSessionDrop record.
func AppendSession(dst []byte, s *Session) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.ID)
	dst = binary.AppendUvarint(dst, s.Expiry)
	dst = binary.AppendUvarint(dst, uint64(s.Disconnected))
	dst = appendString(dst, s.Namespace)
	dst = appendString(dst, s.Client)
	return appendString(dst, s.Owner)
}

// DecodeSession reads a KindSession or KindSessionDrop body.
func DecodeSession(body []byte, s *Session) error {
	r := reader{p: body}
	s.ID, s.Expiry, s.Disconnected = r.u64(), r.uvarint(), int64(r.uvarint())
	s.Namespace, s.Client, s.Owner = r.string(), r.string(), r.string()
	return r.close("session")
}

// Subscription is one subscription of a session.
//
//	session u64 | id uvarint | qos u8 | flags u8 (1: no local, 2: exclusive) | filter string | data string
type Subscription struct {
	Session   uint64
	ID        uint32
	QoS       uint8
	NoLocal   bool
	Exclusive bool // no other session may have such a one for the filter
	Filter    string
	Data      []byte
}

// AppendSubscription appends the body of a KindSubscription or KindSubscriptionDrop record.
func AppendSubscription(dst []byte, s *Subscription) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.Session)
	dst = binary.AppendUvarint(dst, uint64(s.ID))
	dst = append(dst, s.QoS, flag(s.NoLocal, 1)|flag(s.Exclusive, 2))
	dst = appendString(dst, s.Filter)
	return appendString(dst, s.Data)
}

// DecodeSubscription reads a KindSubscription or KindSubscriptionDrop body. Data is a copy.
func DecodeSubscription(body []byte, s *Subscription) error {
	r := reader{p: body}
	s.Session, s.ID = r.u64(), uint32(r.uvarint())
	s.QoS = r.u8()
	flags := r.u8()
	s.NoLocal, s.Exclusive = flags&1 != 0, flags&2 != 0
	s.Filter = r.string()
	s.Data = []byte(r.string())
	return r.close("subscription")
}

// Value is a small value of an adapter kept with a session; an absent one was deleted.
//
//	session u64 | key uvarint | present u8 | value string
type Value struct {
	Session uint64
	Key     uint32
	Present bool
	Value   []byte
}

// AppendValue appends the body of a KindValue record.
func AppendValue(dst []byte, v *Value) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, v.Session)
	dst = binary.AppendUvarint(dst, uint64(v.Key))
	dst = append(dst, flag(v.Present, 1))
	return appendString(dst, v.Value)
}

// DecodeValue reads a KindValue body. Value is a copy.
func DecodeValue(body []byte, v *Value) error {
	r := reader{p: body}
	v.Session, v.Key = r.u64(), uint32(r.uvarint())
	v.Present = r.u8()&1 != 0
	v.Value = []byte(r.string())
	return r.close("value")
}

// AppendOnce appends the body of a KindRelease record: session u64 | id u16.
func AppendOnce(dst []byte, o Once) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, o.Session)
	return binary.LittleEndian.AppendUint16(dst, o.ID)
}

// DecodeOnce reads a KindRelease body.
func DecodeOnce(body []byte) (Once, error) {
	if len(body) != 10 {
		return Once{}, fmt.Errorf("release record of %d bytes: %w", len(body), ErrCorrupt)
	}
	return Once{binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint16(body[8:])}, nil
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// reader reads a body front to back; after the first fault it returns zeros.
type reader struct {
	p   []byte
	err error
}

func (r *reader) u64() uint64 {
	if len(r.p) < 8 {
		return r.short()
	}
	v := binary.LittleEndian.Uint64(r.p)
	r.p = r.p[8:]
	return v
}

func (r *reader) u8() byte {
	if len(r.p) < 1 {
		return byte(r.short())
	}
	v := r.p[0]
	r.p = r.p[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		return r.short()
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.p)) {
		r.short()
		return ""
	}
	s := string(r.p[:n])
	r.p = r.p[n:]
	return s
}

func (r *reader) short() uint64 {
	r.err, r.p = ErrCorrupt, nil
	return 0
}

// close returns the reader's fault; bytes left over are one.
func (r *reader) close(what string) error {
	if r.err == nil && len(r.p) > 0 {
		r.err = ErrCorrupt
	}
	if r.err != nil {
		return fmt.Errorf("%s record: %w", what, r.err)
	}
	return nil
}
