// Package record is the codec of what a shard's log holds: records, batches of
// records, and the frames that carry a batch in a segment file. It works on
// bytes alone: no files, no clock, no goroutines.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// What a decoder refuses bytes for.
var (
	// ErrCorrupt tells that the bytes are not what an encoder wrote.
	ErrCorrupt = errors.New("corrupt")
	// ErrShort tells that the bytes end before the frame does.
	ErrShort = errors.New("short of bytes")
	// ErrVersion tells that the bytes are sound but of a version that this
	// program does not know.
	ErrVersion = errors.New("unknown version")
	// ErrTooLarge tells that a batch is larger than a frame may be.
	ErrTooLarge = errors.New("batch too large")
)

// A frame is a header and the stored form of a batch. Numbers are little endian.
//
//	pos  size  field
//	  0     4  magic "TGfr"
//	  4     1  version, 1 or 2
//	  5     1  codec: 0 none, 1 s2 block, 2 zstd frame
//	  6     2  flags: 1 the batch was synced before it was committed, 2 mark
//	  8     8  term
//	 16     8  version 1: index; version 2: LSN behind the range that is covered
//	 24     8  version 1: LSN of the first record, of the next one when count is
//	           0; version 2: first LSN that is covered
//	 32     4  count of records
//	 36     4  raw length: bytes of the payload when decoded
//	 40     4  table length: the part of the raw length that is the tables
//	 44     4  stored length: bytes that follow this header
//	 48     8  time of the first record, unix milliseconds
//	 56     8  time of the last record, unix milliseconds
//	 64     8  durable watermark: end of the last completed sync of this file
//	 72     4  CRC32C over identity, bytes 0 to 71, and the stored payload
//	 76     4  CRC32C over identity and bytes 0 to 75
//	 80        stored payload
//
// The decoded payload is the records one after the other, each its kind byte
// and its body, and then the length table: the length of each record as a
// uvarint. The identity is the cluster's 16 bytes and the shard as u32; it is
// not stored, so that a frame of another log fails its checksum.
//
// Version 1 is a dense batch. Version 2 is a sparse one, of a rewritten
// segment: it covers at most 2^32-1 LSNs and holds the records of some of them.
// Two tables follow the length table, each with one entry per record. The gap
// table has, as uvarint, the LSNs that are left out before the record. The time
// table has its time less that of the record before, the first one's less the
// time of the first record, as zigzag varint.
//
// A mark is a frame without a batch: it exists to carry a watermark and is no
// part of the log's content.
//
// Every later version keeps magic, version and the checksum at 76 in their
// place, so that an unknown version can be told from damage.
const (
	// FrameMagic begins every frame of every version.
	FrameMagic = "TGfr"
	// HeaderSize is the length of a frame's header in bytes.
	HeaderSize = 80
	// MaxRaw is the largest decoded payload of a frame, in bytes.
	MaxRaw = 256 << 20

	denseVersion  = 1
	sparseVersion = 2

	offVersion   = 4
	offCodec     = 5
	offFlags     = 6
	offTerm      = 8
	offIndex     = 16
	offUntil     = offIndex
	offBase      = 24
	offCount     = 32
	offRaw       = 36
	offTable     = 40
	offStored    = 44
	offFirst     = 48
	offLast      = 56
	offWatermark = 64
	offSum       = 72
	offHeaderSum = 76

	flagSync  = 1
	flagMark  = 2
	flagsMask = flagSync | flagMark
)

// Codec tells how a payload is stored.
type Codec uint8

// The codecs of a payload.
const (
	CodecNone Codec = 0
	CodecS2   Codec = 1
	CodecZstd Codec = 2
)

// Identity names the log that a frame belongs to. Every checksum covers it.
type Identity struct {
	Cluster [16]byte
	Shard   uint32
}

// sum is the checksum of the identity, the start of every other checksum. It
// goes byte by byte, since crc32.Update would move the few bytes to the heap.
func (id *Identity) sum() uint32 {
	sum := ^uint32(0)
	for _, c := range id.Cluster {
		sum = castagnoli[byte(sum)^c] ^ sum>>8
	}
	for shift := 0; shift < 32; shift += 8 {
		sum = castagnoli[byte(sum)^byte(id.Shard>>shift)] ^ sum>>8
	}
	return ^sum
}

// Checksum is the CRC32C over the identity and p, by which the other files of
// the log check their own headers.
func (id Identity) Checksum(p []byte) uint32 { return crc32.Update(id.sum(), castagnoli, p) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is a frame's header.
type Header struct {
	Codec  Codec
	Sync   bool // see Batch.Sync
	Mark   bool // carries a watermark and no batch
	Term   uint64
	Index  uint64
	Base   LSN
	Until  LSN // behind the range that a sparse frame covers, see Batch; else 0
	Count  int
	Raw    int // bytes of the decoded payload
	Table  int // bytes of it that are tables
	Stored int // bytes of the payload as stored
	First  int64
	Last   int64
	// Watermark is the position in the frame's file up to which the last
	// completed sync had reached when the frame was written.
	Watermark uint64
	// Sum is the checksum over header and payload.
	Sum uint32
}

// Size is the length of the whole frame in bytes.
func (h *Header) Size() int { return HeaderSize + h.Stored }

// Sparse tells whether the frame holds a sparse batch.
func (h *Header) Sparse() bool { return h.Until != 0 }

// Next is the LSN behind the range that the frame covers.
func (h *Header) Next() LSN {
	if h.Sparse() {
		return h.Until
	}
	return h.Base + LSN(h.Count)
}

// put writes the header without its two checksums.
func (h *Header) put(p []byte) {
	le := binary.LittleEndian
	var flags uint16
	if h.Sync {
		flags |= flagSync
	}
	if h.Mark {
		flags |= flagMark
	}
	copy(p, FrameMagic)
	p[offVersion] = denseVersion
	p[offCodec] = byte(h.Codec)
	le.PutUint16(p[offFlags:], flags)
	le.PutUint64(p[offTerm:], h.Term)
	le.PutUint64(p[offIndex:], h.Index)
	if h.Sparse() {
		p[offVersion] = sparseVersion
		le.PutUint64(p[offUntil:], uint64(h.Until))
	}
	le.PutUint64(p[offBase:], uint64(h.Base))
	le.PutUint32(p[offCount:], uint32(h.Count))
	le.PutUint32(p[offRaw:], uint32(h.Raw))
	le.PutUint32(p[offTable:], uint32(h.Table))
	le.PutUint32(p[offStored:], uint32(h.Stored))
	le.PutUint64(p[offFirst:], uint64(h.First))
	le.PutUint64(p[offLast:], uint64(h.Last))
	le.PutUint64(p[offWatermark:], h.Watermark)
}

// seal writes the checksums of a frame that is otherwise complete.
func seal(frame []byte, id Identity) {
	sum := crc32.Update(id.sum(), castagnoli, frame[:offSum])
	sum = crc32.Update(sum, castagnoli, frame[HeaderSize:])
	binary.LittleEndian.PutUint32(frame[offSum:], sum)
	binary.LittleEndian.PutUint32(frame[offHeaderSum:], id.Checksum(frame[:offHeaderSum]))
}

// FrameSum returns the checksum of a whole frame that an encoder returned. It
// is 0 for anything shorter than a header.
func FrameSum(frame []byte) uint32 {
	if len(frame) < HeaderSize {
		return 0
	}
	return binary.LittleEndian.Uint32(frame[offSum:])
}

// DecodeHeader reads the header at the start of p. It needs no payload.
// ErrShort when p is shorter than a header, ErrVersion when the header is of
// a later version, ErrCorrupt for all else.
func DecodeHeader(p []byte, id Identity) (Header, error) {
	if len(p) < HeaderSize {
		return Header{}, fmt.Errorf("frame header: %w", ErrShort)
	}
	if string(p[:offVersion]) != FrameMagic {
		return Header{}, fmt.Errorf("frame magic: %w", ErrCorrupt)
	}
	le := binary.LittleEndian
	intact := le.Uint32(p[offHeaderSum:]) == id.Checksum(p[:offHeaderSum])
	version := p[offVersion]
	if version != denseVersion && version != sparseVersion && intact {
		return Header{}, fmt.Errorf("frame version %d: %w", version, ErrVersion)
	}
	if !intact {
		return Header{}, fmt.Errorf("frame header checksum: %w", ErrCorrupt)
	}
	flags := le.Uint16(p[offFlags:])
	raw, table, stored := le.Uint32(p[offRaw:]), le.Uint32(p[offTable:]), le.Uint32(p[offStored:])
	count := le.Uint32(p[offCount:])
	codec := Codec(p[offCodec])
	// Each record has at least its kind byte and one byte in the table.
	switch {
	case flags&^flagsMask != 0, codec > CodecZstd:
		return Header{}, fmt.Errorf("frame flags %#x codec %d: %w", flags, codec, ErrCorrupt)
	case raw > MaxRaw || stored > raw || (codec == CodecNone) != (stored == raw),
		table > raw, count > table, count > raw-table, (count == 0) != (raw == 0),
		flags&flagMark != 0 && count > 0:
		return Header{}, fmt.Errorf("frame lengths: count %d, raw %d, table %d, stored %d: %w",
			count, raw, table, stored, ErrCorrupt)
	}
	h := Header{
		Codec: codec, Sync: flags&flagSync != 0, Mark: flags&flagMark != 0,
		Term: le.Uint64(p[offTerm:]), Index: le.Uint64(p[offIndex:]), Base: LSN(le.Uint64(p[offBase:])),
		Count: int(count), Raw: int(raw), Table: int(table), Stored: int(stored),
		First: int64(le.Uint64(p[offFirst:])), Last: int64(le.Uint64(p[offLast:])),
		Watermark: le.Uint64(p[offWatermark:]), Sum: le.Uint32(p[offSum:]),
	}
	if version == sparseVersion {
		return h, h.cover()
	}
	return h, nil
}

// cover reads the range of a sparse frame from the place of the index.
func (h *Header) cover() error {
	h.Until, h.Index = LSN(h.Index), 0
	span := uint64(h.Until - h.Base)
	if h.Until <= h.Base || span > maxSpan || uint64(h.Count) > span || h.Mark || h.Count > h.Table/3 {
		err := fmt.Errorf("sparse frame %d to %d of %d records: %w", h.Base, h.Until, h.Count, ErrCorrupt)
		*h = Header{}
		return err
	}
	return nil
}
