package index

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// Streams with retention have keys of their own. Those that begin with 'g' are
// read at the start, the others when they are needed.
//
//	'g' stream u64, 0 u64          Kept
//	'g' stream u64, cursor u64     Group: a consumer group
//	'p' stream u64, 'm', chunk u64   Chunk: what is known of a chunk of references
//	'p' stream u64, 'd', chunk u64   the chunk holds messages that are superseded
//	'p' stream u64, 'l', key         Last: the last message of a key
//	'p' stream u64, 't', offset u64  time varint and key of a tombstone
const (
	keyKept  = 'g'
	keyParts = 'p'

	partAt = 9 // where a key tells the part

	partChunk     = 'm'
	partDue       = 'd'
	partLast      = 'l'
	partTombstone = 't'
)

// KeptPrefix begins the keys of all stream queues and their groups.
var KeptPrefix = []byte{keyKept}

// PartsPrefix begins all other keys of stream queues.
var PartsPrefix = []byte{keyParts}

// KeptKey is the key of a stream queue's own state.
func KeptKey(id record.StreamID) []byte { return GroupKey(id, 0) }

// GroupKey is the key of a consumer group.
func GroupKey(id record.StreamID, cursor uint64) []byte {
	return binary.BigEndian.AppendUint64(key(keyKept, uint64(id)), cursor)
}

// GroupsKey begins the keys of a stream queue's state and groups.
func GroupsKey(id record.StreamID) []byte { return key(keyKept, uint64(id)) }

// PartsKey begins all other keys of a stream queue.
func PartsKey(id record.StreamID) []byte { return key(keyParts, uint64(id)) }

// ChunkInfoKey is the key of what is known of a chunk.
func ChunkInfoKey(id record.StreamID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(append(PartsKey(id), partChunk), no)
}

// DueKey is the key that tells that a chunk holds superseded messages.
func DueKey(id record.StreamID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(append(PartsKey(id), partDue), no)
}

// DuesKey begins the keys of all such chunks.
func DuesKey(id record.StreamID) []byte { return append(PartsKey(id), partDue) }

// LastKey is the key of the last message of a key.
func LastKey[K string | []byte](id record.StreamID, k K) []byte {
	return append(append(PartsKey(id), partLast), k...)
}

// TombstoneKey is the key of a tombstone.
func TombstoneKey(id record.StreamID, o record.Offset) []byte {
	return binary.BigEndian.AppendUint64(append(PartsKey(id), partTombstone), uint64(o))
}

// TombstonesKey begins the keys of all tombstones.
func TombstonesKey(id record.StreamID) []byte { return append(PartsKey(id), partTombstone) }

// PartNumber reads the number at the end of a key of a part.
func PartNumber(k []byte) (uint64, error) {
	if len(k) != 18 {
		return 0, fmt.Errorf("index key of %d bytes: %w", len(k), record.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(k[10:]), nil
}

// Kept is the state of a stream queue: bytes uvarint, time varint.
type Kept struct {
	Bytes uint64 // of its messages
	Time  int64  // of the newest one, unix milliseconds
}

// AppendKept appends the value of a stream queue.
func AppendKept(dst []byte, k *Kept) []byte {
	return binary.AppendVarint(binary.AppendUvarint(dst, k.Bytes), k.Time)
}

// DecodeKept reads the value of a stream queue.
func DecodeKept(v []byte, k *Kept) error {
	var ns [1]uint64
	rest, err := uvarints(v, ns[:])
	if err != nil {
		return err
	}
	at, size := binary.Varint(rest)
	if size <= 0 || size != len(rest) {
		return fmt.Errorf("index value of a stream queue: %w", record.ErrCorrupt)
	}
	k.Bytes, k.Time = ns[0], at
	return nil
}

// Group is a consumer group: created uvarint, since uvarint less created, and the
// name.
type Group struct {
	// Created is the record that began the group, Since the newest one that set its
	// cursor: that, or a seek. What was settled before Since says nothing any more.
	Created, Since record.LSN
	Name           string
}

// AppendGroup appends the value of a consumer group.
func AppendGroup(dst []byte, g *Group) []byte {
	dst = binary.AppendUvarint(dst, uint64(g.Created))
	return append(binary.AppendUvarint(dst, uint64(g.Since-g.Created)), g.Name...)
}

// DecodeGroup reads the value of a consumer group.
func DecodeGroup(v []byte) (Group, error) {
	var ns [2]uint64
	rest, err := uvarints(v, ns[:])
	if err != nil {
		return Group{}, fmt.Errorf("index value of a consumer group: %w", record.ErrCorrupt)
	}
	return Group{record.LSN(ns[0]), record.LSN(ns[0] + ns[1]), string(rest)}, nil
}

// Bits are a mark for each reference of a chunk.
type Bits [ChunkLen / 64]uint64

// Has tells whether the reference is marked.
func (b *Bits) Has(o record.Offset) bool {
	i := o & (ChunkLen - 1)
	return b[i/64]&(1<<(i%64)) != 0
}

// Set marks the reference.
func (b *Bits) Set(o record.Offset) {
	i := o & (ChunkLen - 1)
	b[i/64] |= 1 << (i % 64)
}

// Chunk is what is known of a chunk of a stream queue: bytes uvarint, garbage
// uvarint, last time varint, and the two marks of its references, 32 bytes
// each, unless both are empty; then, unless it is 0, how far back uvarint.
type Chunk struct {
	Bytes   uint64 // of its messages
	Garbage uint64 // part of Bytes, of messages superseded and still there
	Time    int64  // of the newest message, unix milliseconds; never before that of older chunks
	// Back is how many milliseconds before Time the clock was at the most when the
	// chunk's own messages came: it was wrong then, or when older ones came.
	Back uint64
	// Superseded are messages of which a later one has the key, Gone those that
	// were taken out.
	Superseded, Gone Bits
}

// AppendChunkInfo appends the value of a chunk.
func AppendChunkInfo(dst []byte, c *Chunk) []byte {
	dst = binary.AppendUvarint(dst, c.Bytes)
	dst = binary.AppendUvarint(dst, c.Garbage)
	dst = binary.AppendVarint(dst, c.Time)
	if c.Superseded != (Bits{}) || c.Gone != (Bits{}) {
		for _, b := range []*Bits{&c.Superseded, &c.Gone} {
			for _, word := range b {
				dst = binary.LittleEndian.AppendUint64(dst, word)
			}
		}
	}
	if c.Back > 0 {
		dst = binary.AppendUvarint(dst, c.Back)
	}
	return dst
}

// DecodeChunkInfo reads the value of a chunk.
func DecodeChunkInfo(v []byte, c *Chunk) error {
	var ns [2]uint64
	rest, err := uvarints(v, ns[:])
	if err != nil {
		return err
	}
	at, size := binary.Varint(rest)
	*c = Chunk{Bytes: ns[0], Garbage: ns[1], Time: at}
	if size <= 0 {
		return fmt.Errorf("index value of a chunk: %w", record.ErrCorrupt)
	}
	if rest = rest[size:]; len(rest) >= 2*ChunkLen/8 {
		for _, b := range []*Bits{&c.Superseded, &c.Gone} {
			for i := range b {
				b[i] = binary.LittleEndian.Uint64(rest)
				rest = rest[8:]
			}
		}
	}
	if len(rest) == 0 {
		return nil
	}
	if c.Back, size = binary.Uvarint(rest); size != len(rest) || c.Back == 0 {
		return fmt.Errorf("index value of a chunk: %w", record.ErrCorrupt)
	}
	return nil
}

// Last is the last message of a key: offset uvarint, LSN uvarint, size uvarint,
// tombstone uvarint.
type Last struct {
	Offset    record.Offset
	LSN       record.LSN
	Size      uint64 // its bytes
	Tombstone bool
}

// AppendLast appends the value of a key's last message.
func AppendLast(dst []byte, l *Last) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.Offset))
	dst = binary.AppendUvarint(dst, uint64(l.LSN))
	dst = binary.AppendUvarint(dst, l.Size)
	if l.Tombstone {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// DecodeLast reads the value of a key's last message.
func DecodeLast(v []byte, l *Last) error {
	var ns [4]uint64
	rest, err := uvarints(v, ns[:])
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("index value of a key's last message: %w", record.ErrCorrupt)
	}
	*l = Last{record.Offset(ns[0]), record.LSN(ns[1]), ns[2], ns[3] != 0}
	return nil
}

// AppendTombstone appends the value of a tombstone.
func AppendTombstone(dst []byte, at int64, k []byte) []byte {
	return append(binary.AppendVarint(dst, at), k...)
}

// DecodeTombstone reads the value of a tombstone; the key is a copy.
func DecodeTombstone(v []byte) (at int64, k string, err error) {
	at, size := binary.Varint(v)
	if size <= 0 {
		return 0, "", fmt.Errorf("index value of a tombstone: %w", record.ErrCorrupt)
	}
	return at, string(v[size:]), nil
}
