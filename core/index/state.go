package index

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// The keys of a shard's store. Numbers in keys are big endian, so that they
// sort; values are in the codec of package record or as said here.
//
//	'f'                            format: version u8 (1 or 2), cluster [16]u8, shard u32
//	'a'                            applied: LSN of the last record, u64
//	'u'                            acks of records up to this LSN are of another count of offsets, u64
//	'm'                            LSN from which on blocks are marked with 'k', u64
//	's' stream u64                 Stream
//	'c' stream u64, cursor u64     Cursor
//	'x' stream u64, chunk u64      references: per entry the LSN as a uvarint, less the one before
//	'y' stream u64, chunk u64      references of a stream that ends with the process
//	'y' stream u64                 such a stream, as Stream
//	'z' stream u64, offset u64     sizes of a queue's messages from the offset on: runs of equal ones,
//	                               each the size and the number as uvarints; up to the chunk's end
//	'Z' stream u64, offset u64     as 'z', of a stream that ends with the process
//	'B' stream u64, chunk u64      record.Returns of a queue's messages that are not settled
//	'b'                            nothing; 'z' and 'Z' have all messages of queues
//	'k' block u64                  nothing; a record of the block says more than a message does
//	't' deadline u64, stream u64,  number of neighbours from the offset on that end at the
//	    offset u64                 deadline (unix milliseconds), uvarint
//	'r' namespace, 0, topic        LSN of the retained message, u64
//	'R' namespace, 0, topic        a copy of that message if it is small, see RetainedCopy
//	'o' session u64, id u16        LSN of the exactly-once publish, u64
//	'S' session u64                record.Session
//	'U' session u64, filter        record.Subscription
//	'V' session u64, key u32       record.Value
//	'g' and 'p'                    of stream queues, see kept.go
//	'h', 'D', 'i', 'j' and 'l'     of held messages, see held.go
//	'q' lsn u64                    nothing; a transfer that is not done
//	'd'                            LSN of the record that tells of most transfers that they are
//	                               done, u64, and the number below which that is, u64
//	'w' source u64, number u64     nothing; a transfer of another shard that has taken effect
//	'n' thing                      LSN of the newest record of a thing, u64
//	'e' thing                      LSN of the newest record that ended a session or stream, u64
//
// A thing is 'S' session u64 or 's' stream u64, and for what one of these has, 'U'
// filter, 'V' key u32 or 'C' cursor u64 behind that. With the small letter 'n' has
// the record that ended it.
const (
	keyFormat       = 'f'
	keyApplied      = 'a'
	keyRecounted    = 'u'
	keyMarked       = 'm'
	keyStream       = 's'
	keyCursor       = 'c'
	keyChunk        = 'x'
	keyTransient    = 'y'
	keyRetained     = 'r'
	keyRetainedCopy = 'R'
	keyOnce         = 'o'
	keySession      = 'S'
	keySubscription = 'U'
	keyValue        = 'V'
	keyControl      = 'k'
	keyDeadline     = 't'
	keyNewest       = 'n'
	keyEnded        = 'e'
	keyTransfer     = 'q'
	keyTransferred  = 'w'
	keyTransferDone = 'd'
	keyReturns      = 'B'
)

// AppliedKey is the key of the LSN that the state is as of.
var AppliedKey = []byte{keyApplied}

// RecountedKey is the key of the LSN up to which acks are of another count of
// offsets than the one there is; it is not there when there was only one.
var RecountedKey = []byte{keyRecounted}

// MarkedKey is the key of the LSN from which on blocks are marked, see ControlKey.
// A store without it is of a time that knew no marks.
var MarkedKey = []byte{keyMarked}

// FormatKey is the key that tells whose store it is, and how to read it.
var FormatKey = []byte{keyFormat}

// The versions of the format. The second one is that of a store which has had held
// messages: who does not know these would take their log for rubbish.
const (
	formatVersion     = 1
	formatVersionHeld = 2
)

// AppendFormat appends the value of FormatKey.
func AppendFormat(dst []byte, id record.Identity) []byte {
	dst = append(append(dst, formatVersion), id.Cluster[:]...)
	return binary.LittleEndian.AppendUint32(dst, id.Shard)
}

// AppendFormatHeld appends the value of FormatKey of a store that has had held messages.
func AppendFormatHeld(dst []byte, id record.Identity) []byte {
	at := len(dst)
	dst = AppendFormat(dst, id)
	dst[at] = formatVersionHeld
	return dst
}

// CheckFormat refuses the store of another version, cluster or shard.
func CheckFormat(v []byte, id record.Identity) error {
	if len(v) == 0 || v[0] < formatVersion || v[0] > formatVersionHeld {
		return fmt.Errorf("index format %x: %w", v, record.ErrVersion)
	}
	if !bytes.Equal(v[1:], AppendFormat(nil, id)[1:]) {
		return fmt.Errorf("index of another cluster or shard: %w", record.ErrCorrupt)
	}
	return nil
}

// OlderFormat tells whether the value of FormatKey is none, or one of an earlier
// version: such a store is rebuilt.
func OlderFormat(v []byte) bool { return len(v) == 0 || v[0] < formatVersion }

func key(kind byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, id)
}

// StreamKey is the key of a stream.
func StreamKey(id record.StreamID) []byte { return key(keyStream, uint64(id)) }

// CursorKey is the key of a cursor.
func CursorKey(id record.StreamID, cursor uint64) []byte {
	return binary.BigEndian.AppendUint64(key(keyCursor, uint64(id)), cursor)
}

// CursorsKey begins the keys of all cursors of a stream.
func CursorsKey(id record.StreamID) []byte { return key(keyCursor, uint64(id)) }

// ChunkKey is the key of a chunk of references.
func ChunkKey(id record.StreamID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(key(keyChunk, uint64(id)), no)
}

// ChunksKey begins the keys of all chunks of a stream.
func ChunksKey(id record.StreamID) []byte { return key(keyChunk, uint64(id)) }

// TransientChunkKey is the key of a chunk of a stream that a restart forgets.
func TransientChunkKey(id record.StreamID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(key(keyTransient, uint64(id)), no)
}

// TransientKey is the key of such a stream, and begins those of all its chunks.
func TransientKey(id record.StreamID) []byte { return key(keyTransient, uint64(id)) }

// ReturnsKey is the key of how often messages of a queue came back, of a chunk.
func ReturnsKey(id record.StreamID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(ReturnsOfKey(id), no)
}

// ReturnsOfKey begins the keys of all such chunks of a queue.
func ReturnsOfKey(id record.StreamID) []byte { return key(keyReturns, uint64(id)) }

// controlBits is the length of a block of records as a power of two.
const controlBits = 8

// ControlBlock is the block that a record belongs to. Blocks follow each other
// like their records.
func ControlBlock(lsn record.LSN) uint64 { return uint64(lsn) >> controlBits }

// ControlKey is the key that marks a block with a record that is more than a
// message, an ack or a delivery mark.
func ControlKey(block uint64) []byte { return key(keyControl, block) }

// SplitOnceKey takes a OnceKey apart.
func SplitOnceKey(k []byte) (record.Once, error) {
	if len(k) != 11 {
		return record.Once{}, fmt.Errorf("index key of %d bytes: %w", len(k), record.ErrCorrupt)
	}
	return record.Once{Session: binary.BigEndian.Uint64(k[1:]), ID: binary.BigEndian.Uint16(k[9:])}, nil
}

// OnceKey is the key of an exactly-once number.
func OnceKey(o record.Once) []byte {
	return binary.BigEndian.AppendUint16(key(keyOnce, o.Session), o.ID)
}

// SessionKey is the key of a session.
func SessionKey(id uint64) []byte { return key(keySession, id) }

// SubscriptionKey is the key of a session's subscription; without a filter it
// begins the keys of all.
func SubscriptionKey(id uint64, filter string) []byte {
	return append(key(keySubscription, id), filter...)
}

// ValueKey is the key of a session's value.
func ValueKey(id uint64, k uint32) []byte {
	return binary.BigEndian.AppendUint32(key(keyValue, id), k)
}

// ValuesKey begins the keys of all values of a session.
func ValuesKey(id uint64) []byte { return key(keyValue, id) }

// Prefixes of all keys of a kind, for Scan.
var (
	TransientPrefix    = []byte{keyTransient}
	ChunkPrefix        = []byte{keyChunk}
	StreamPrefix       = []byte{keyStream}
	CursorPrefix       = []byte{keyCursor}
	RetainedPrefix     = []byte{keyRetained}
	RetainedCopyPrefix = []byte{keyRetainedCopy}
	OncePrefix         = []byte{keyOnce}
	SessionPrefix      = []byte{keySession}
	SubscriptionPrefix = []byte{keySubscription}
	ValuePrefix        = []byte{keyValue}
	ControlPrefix      = []byte{keyControl}
	DeadlinePrefix     = []byte{keyDeadline}
	NewestPrefix       = []byte{keyNewest}
	EndedPrefix        = []byte{keyEnded}
	TransferPrefix     = []byte{keyTransfer}
	TransferredPrefix  = []byte{keyTransferred}
	ReturnsPrefix      = []byte{keyReturns}
)

// AllPrefixes are the prefixes of all keys but AppliedKey,
// RecountedKey, MarkedKey, SizedKey and FormatKey.
var AllPrefixes = [][]byte{
	StreamPrefix, CursorPrefix, ChunkPrefix, TransientPrefix, RetainedPrefix, RetainedCopyPrefix,
	OncePrefix, SessionPrefix, SubscriptionPrefix, ValuePrefix, ControlPrefix, KeptPrefix, PartsPrefix,
	DeadlinePrefix, NewestPrefix, EndedPrefix, TransferPrefix, TransferredPrefix,
	TransferDoneKey, SizesPrefix, TransientSizesPrefix, ReturnsPrefix,
	HeldPrefix, HeldDuePrefix, SchedulePrefix, FiredPrefix, HeldCountPrefix,
}

// Uint64 reads the n-th u64 of a key behind its kind.
func Uint64(k []byte, n int) (uint64, error) {
	at := 1 + 8*n
	if len(k) < at+8 {
		return 0, fmt.Errorf("index key of %d bytes: %w", len(k), record.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(k[at:]), nil
}

// AppendLSN appends the value of a key that holds one LSN.
func AppendLSN(dst []byte, lsn record.LSN) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(lsn))
}

// DecodeLSN reads such a value.
func DecodeLSN(v []byte) (record.LSN, error) {
	if len(v) != 8 {
		return 0, fmt.Errorf("index value of %d bytes for a record: %w", len(v), record.ErrCorrupt)
	}
	return record.LSN(binary.LittleEndian.Uint64(v)), nil
}

// Stream is a stream as of a checkpoint: since uvarint, low uvarint, end
// uvarint, record.Stream.
type Stream struct {
	record.Stream
	Since    record.LSN // the record that made it
	Low, End record.Offset
}

// AppendStream appends the value of a stream.
func AppendStream(dst []byte, s *Stream) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Since))
	dst = binary.AppendUvarint(dst, uint64(s.Low))
	dst = binary.AppendUvarint(dst, uint64(s.End))
	return record.AppendStream(dst, &s.Stream)
}

// DecodeStream reads the value of a stream.
func DecodeStream(v []byte, s *Stream) error {
	var ns [3]uint64
	rest, err := uvarints(v, ns[:])
	if err != nil {
		return err
	}
	s.Since, s.Low, s.End = record.LSN(ns[0]), record.Offset(ns[1]), record.Offset(ns[2])
	return record.DecodeStream(rest, &s.Stream)
}

// Cursor is a cursor as of a checkpoint: marked uvarint, floor uvarint, count
// uvarint, and the settled ranges above the floor, each its distance from the
// end of the one before and its length as uvarints.
type Cursor struct {
	Marked, Floor record.Offset
	Ranges        []record.Range
}

// AppendCursor appends the value of a cursor.
func AppendCursor(dst []byte, c *Cursor) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Marked))
	dst = binary.AppendUvarint(dst, uint64(c.Floor))
	dst = binary.AppendUvarint(dst, uint64(len(c.Ranges)))
	last := c.Floor
	for _, r := range c.Ranges {
		dst = binary.AppendUvarint(dst, uint64(r.First-last))
		dst = binary.AppendUvarint(dst, uint64(r.End-r.First))
		last = r.End
	}
	return dst
}

// DecodeCursor reads the value of a cursor.
func DecodeCursor(v []byte, c *Cursor) error {
	var ns [3]uint64
	rest, err := uvarints(v, ns[:])
	if err != nil {
		return err
	}
	c.Marked, c.Floor, c.Ranges = record.Offset(ns[0]), record.Offset(ns[1]), nil
	last := c.Floor
	for range ns[2] {
		if rest, err = uvarints(rest, ns[:2]); err != nil {
			return err
		}
		first := last + record.Offset(ns[0])
		last = first + record.Offset(ns[1])
		c.Ranges = append(c.Ranges, record.Range{First: first, End: last})
	}
	return nil
}

// AppendChunk appends the value of a chunk of references. An LSN of 0, only at
// the chunk's beginning, is a reference that nobody needs. A chunk that a rebuild
// has skipped holds one reference, which stands for all.
func AppendChunk(dst []byte, lsns []record.LSN) []byte {
	var last record.LSN
	for _, lsn := range lsns {
		dst = binary.AppendUvarint(dst, uint64(lsn-last))
		last = lsn
	}
	return dst
}

// DecodeChunk reads a chunk, appending it to dst.
func DecodeChunk(v []byte, dst []record.LSN) ([]record.LSN, error) {
	var last record.LSN
	for n := 0; len(v) > 0; n++ {
		d, size := binary.Uvarint(v)
		if size <= 0 || n == ChunkLen {
			return dst, fmt.Errorf("chunk of references: %w", record.ErrCorrupt)
		}
		last += record.LSN(d)
		dst = append(dst, last)
		v = v[size:]
	}
	return dst, nil
}

func uvarints(v []byte, ns []uint64) (rest []byte, err error) {
	for i := range ns {
		n, size := binary.Uvarint(v)
		if size <= 0 {
			return nil, fmt.Errorf("index value: %w", record.ErrCorrupt)
		}
		ns[i], v = n, v[size:]
	}
	return v, nil
}
