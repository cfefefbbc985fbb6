package index

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// Held messages are those that are not due yet. The keys of them and of what became
// of them:
//
//	'h' lsn u64                    when the message of the record is due, u64
//	'D' due u64, lsn u64           nothing; the same by time, unix milliseconds
//	'i' namespace, 0, length u16,  nothing; the record of a held message that has a
//	    name, lsn u64              name
//	'j' lsn u64, fire u64          Fired: the message of the record was due, told by the
//	                               fire record
//	'l' namespace                  number of held messages, uvarint
const (
	keyHeld      = 'h'
	keyDue       = 'D'
	keySchedule  = 'i'
	keyFired     = 'j'
	keyHeldCount = 'l'
)

// Prefixes of all keys of a kind, for Scan.
var (
	HeldPrefix      = []byte{keyHeld}
	HeldDuePrefix   = []byte{keyDue}
	SchedulePrefix  = []byte{keySchedule}
	FiredPrefix     = []byte{keyFired}
	HeldCountPrefix = []byte{keyHeldCount}
)

// HeldKey is the key of a held message by its record.
func HeldKey(lsn record.LSN) []byte { return key(keyHeld, uint64(lsn)) }

// AppendDue appends the value of a held message's key: when it is due.
func AppendDue(dst []byte, due int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(due))
}

// DecodeDue reads the value of a held message's key.
func DecodeDue(v []byte) (due int64, err error) {
	if len(v) != 8 {
		return 0, fmt.Errorf("index value of %d bytes for a held message: %w", len(v), record.ErrCorrupt)
	}
	return int64(binary.LittleEndian.Uint64(v)), nil
}

// HeldDueKey is the key of a held message by the time when it is due.
func HeldDueKey(due int64, lsn record.LSN) []byte {
	return binary.BigEndian.AppendUint64(key(keyDue, uint64(due)), uint64(lsn))
}

// SplitHeldDueKey takes a HeldDueKey apart.
func SplitHeldDueKey(k []byte) (due int64, lsn record.LSN, err error) {
	if len(k) != 1+2*8 {
		return 0, 0, fmt.Errorf("index key of a held message: %w", record.ErrCorrupt)
	}
	return int64(binary.BigEndian.Uint64(k[1:])), record.LSN(binary.BigEndian.Uint64(k[9:])), nil
}

// ScheduleKey begins the key of a held message by its name; the record is behind it.
func ScheduleKey[S string | []byte](namespace, name S) []byte {
	k := append([]byte{keySchedule}, namespace...)
	k = binary.BigEndian.AppendUint16(append(k, 0), uint16(len(name)))
	return append(k, name...)
}

// ScheduleRecordKey is the key of a held message by its name.
func ScheduleRecordKey[S string | []byte](namespace, name S, lsn record.LSN) []byte {
	return binary.BigEndian.AppendUint64(ScheduleKey(namespace, name), uint64(lsn))
}

// ScheduleRecord is the record of a ScheduleRecordKey that begins with a ScheduleKey.
func ScheduleRecord(k, begin []byte) (record.LSN, error) {
	if len(k) != len(begin)+8 {
		return 0, fmt.Errorf("index key of a schedule: %w", record.ErrCorrupt)
	}
	return record.LSN(binary.BigEndian.Uint64(k[len(begin):])), nil
}

// FiredKey is the key of a message that was held and the record that says that it was
// due.
func FiredKey(lsn, fire record.LSN) []byte {
	return binary.BigEndian.AppendUint64(key(keyFired, uint64(lsn)), uint64(fire))
}

// FiredOfKey begins the keys of all times that a message was due.
func FiredOfKey(lsn record.LSN) []byte { return key(keyFired, uint64(lsn)) }

// Fired is where a message that was held is since it was due: count uvarint, per stream
// its id u64 and its offset there uvarint; behind them, if it may be the retained value
// of its topic, the namespace, 0, and the topic.
type Fired struct {
	Streams          []record.StreamID
	Offsets          []record.Offset
	Retain           bool
	Namespace, Topic []byte
}

// AppendFired appends the value of a FiredKey.
func AppendFired(dst []byte, f *Fired) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(f.Streams)))
	for i, id := range f.Streams {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(id))
		dst = binary.AppendUvarint(dst, uint64(f.Offsets[i]))
	}
	if f.Retain {
		dst = append(append(append(dst, f.Namespace...), 0), f.Topic...)
	}
	return dst
}

// DecodeFired reads the value of a FiredKey into f, whose slices it uses again.
// Namespace and Topic alias the value.
func DecodeFired(v []byte, f *Fired) error {
	*f = Fired{Streams: f.Streams[:0], Offsets: f.Offsets[:0]}
	n, size := binary.Uvarint(v)
	if size <= 0 || n > uint64(len(v)) {
		return errFired()
	}
	v = v[size:]
	for range n {
		if len(v) < 9 {
			return errFired()
		}
		f.Streams = append(f.Streams, record.StreamID(binary.LittleEndian.Uint64(v)))
		o, size := binary.Uvarint(v[8:])
		if size <= 0 {
			return errFired()
		}
		f.Offsets, v = append(f.Offsets, record.Offset(o)), v[8+size:]
	}
	if f.Retain = len(v) > 0; f.Retain {
		var err error
		if f.Namespace, f.Topic, err = SplitRetainedKey(append([]byte{keyRetained}, v...)); err != nil {
			return err
		}
	}
	return nil
}

func errFired() error {
	return fmt.Errorf("index value of a message that was due: %w", record.ErrCorrupt)
}

// HeldCountKey is the key of the number of messages that a namespace has held.
func HeldCountKey(namespace string) []byte { return append([]byte{keyHeldCount}, namespace...) }

// AppendHeldCount appends the value of a HeldCountKey.
func AppendHeldCount(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

// DecodeHeldCount reads the key and the value of a HeldCountKey.
func DecodeHeldCount(k, v []byte) (namespace string, n uint64, err error) {
	var ns [1]uint64
	rest, err := uvarints(v, ns[:])
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("index value of held messages: %w", record.ErrCorrupt)
	}
	return string(k[1:]), ns[0], err
}
