// Package segment is one file of a shard's log: a header, frames, and a footer
// once it is sealed. [Writer] appends, [Reader] reads what was written, and
// [Recover] finds out what a crash has left.
package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/tidegate/tidegate/core/record"
)

// A segment file. Numbers are little endian; frames are described in package
// record.
//
//	header | frame, frame, … | footer (when sealed): index | statistics | trailer
//
// The header is synced before the first frame is written, so a file longer
// than a header has a sound one or is damaged.
//
//	pos  size  field of the header
//	  0     4  magic "TGsg"
//	  4     2  version, 1; 2 in a rewritten segment
//	  6     2  0
//	  8    16  cluster
//	 24     4  shard
//	 28     4  CRC that ends the previous segment (trailer, pos 60); 0 in the first
//	           and in a rewritten one
//	 32     8  LSN of the first record; first LSN covered by a rewritten segment
//	 40     8  time of creation, unix milliseconds
//	 48     8  version 1: 0; version 2: generation of the rewrite
//	 56     4  0
//	 60     4  CRC32C of bytes 0 to 59
//
// An index entry is the LSN of a frame's first record and the frame's
// position, u64 each. There is one for the first frame with records and one
// for the first such frame at least 64 KiB behind the entry before. All frames
// of a rewritten segment are sparse, and none of an original one.
//
// The statistics are u64 each: records, batches, bytes of the records decoded,
// time of the first and time of the last record. They follow the index.
//
//	pos  size  field of the trailer, which ends the file
//	  0     4  magic "TGse"
//	  4     2  version, 2; 1 has no statistics before it
//	  6     2  0
//	  8     8  LSN of the first record, as in the header
//	 16     8  LSN behind the last record, or behind what a rewritten segment covers
//	 24     8  position behind the last frame, where the index begins
//	 32     4  number of index entries
//	 36     4  CRC32C of index and statistics
//	 40     4  checksum of the last frame (record.FrameSum); 0 without frames
//	 44     8  bytes of the records decoded whose frames are stored with zstd; 0 in
//	           segments that were sealed before it was counted
//	 52     8  0
//	 60     4  CRC32C over the identity and bytes 0 to 59
//
// All frames are synced before the footer is written, so a sound trailer
// proves that they were durable. Later versions keep magic, version and the
// CRC at 60 in their place in header and trailer.
const (
	// HeaderSize is the length of a segment's header in bytes.
	HeaderSize = 64
	// TrailerSize is the length of the trailer in bytes.
	TrailerSize = 64
	// IndexStep is the distance of index entries in bytes.
	IndexStep = 64 << 10

	headerMagic  = "TGsg"
	trailerMagic = "TGse"
	original     = 1 // versions of the header
	rewritten    = 2
	plain        = 1 // versions of the trailer
	counted      = 2
	offCRC       = 60
	entrySize    = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Header is a segment's header.
type Header struct {
	Identity record.Identity
	// Base is the LSN of the first record.
	Base record.LSN
	// Previous is the CRC that ends the previous segment, as [Writer.Seal]
	// returned it; 0 in a log's first segment.
	Previous uint32
	// Created is the time of creation, unix milliseconds.
	Created int64
	// Rewritten tells that the segment was made of others and holds what is
	// left of their records.
	Rewritten bool
	// Generation tells rewritten segments with one Base apart.
	Generation uint64
}

func (h *Header) encode() []byte {
	le, p := binary.LittleEndian, make([]byte, HeaderSize)
	copy(p, headerMagic)
	le.PutUint16(p[4:], original)
	if h.Rewritten {
		le.PutUint16(p[4:], rewritten)
	}
	copy(p[8:], h.Identity.Cluster[:])
	le.PutUint32(p[24:], h.Identity.Shard)
	le.PutUint32(p[28:], h.Previous)
	le.PutUint64(p[32:], uint64(h.Base))
	le.PutUint64(p[40:], uint64(h.Created))
	le.PutUint64(p[48:], h.Generation)
	le.PutUint32(p[offCRC:], checksum(p[:offCRC]))
	return p
}

// decodeHeader reads a segment's header, of whatever log.
func decodeHeader(p []byte) (Header, error) {
	if len(p) < HeaderSize {
		return Header{}, fmt.Errorf("segment header of %d bytes: %w", len(p), record.ErrShort)
	}
	p = p[:HeaderSize]
	if err := checkBlock(p, headerMagic, rewritten, checksum(p[:offCRC])); err != nil {
		return Header{}, fmt.Errorf("segment header: %w", err)
	}
	le := binary.LittleEndian
	h := Header{
		Previous: le.Uint32(p[28:]), Base: record.LSN(le.Uint64(p[32:])), Created: int64(le.Uint64(p[40:])),
		Rewritten: le.Uint16(p[4:]) == rewritten, Generation: le.Uint64(p[48:]),
	}
	copy(h.Identity.Cluster[:], p[8:])
	h.Identity.Shard = le.Uint32(p[24:])
	return h, nil
}

// checkBlock checks what header and trailer have in common: magic, version,
// up to the newest one, and the CRC at their end, which must be sum.
func checkBlock(p []byte, magic string, newest uint16, sum uint32) error {
	if string(p[:4]) != magic {
		return fmt.Errorf("magic: %w", record.ErrCorrupt)
	}
	intact := binary.LittleEndian.Uint32(p[offCRC:]) == sum
	if v := binary.LittleEndian.Uint16(p[4:]); (v < 1 || v > newest) && intact {
		return fmt.Errorf("version %d: %w", v, record.ErrVersion)
	}
	if !intact {
		return fmt.Errorf("checksum: %w", record.ErrCorrupt)
	}
	return nil
}

// trailer ends a sealed segment.
type trailer struct {
	base, next record.LSN
	end        int64 // behind the last frame
	entries    int
	indexSum   uint32
	lastSum    uint32
	sum        uint32 // the trailer's own CRC, which the next segment repeats
	counted    bool   // statistics stand before it
	stats      Stats
}

// footer is the length of what stands before the trailer, in bytes.
func (t *trailer) footer() int64 {
	n := int64(t.entries) * entrySize
	if t.counted {
		n += statsSize
	}
	return n
}

// encode also sets t.sum.
func (t *trailer) encode(id record.Identity) []byte {
	le, p := binary.LittleEndian, make([]byte, TrailerSize)
	copy(p, trailerMagic)
	le.PutUint16(p[4:], plain)
	if t.counted {
		le.PutUint16(p[4:], counted)
	}
	le.PutUint64(p[8:], uint64(t.base))
	le.PutUint64(p[16:], uint64(t.next))
	le.PutUint64(p[24:], uint64(t.end))
	le.PutUint32(p[32:], uint32(t.entries))
	le.PutUint32(p[36:], t.indexSum)
	le.PutUint32(p[40:], t.lastSum)
	le.PutUint64(p[44:], t.stats.Zstd)
	t.sum = id.Checksum(p[:offCRC])
	le.PutUint32(p[offCRC:], t.sum)
	return p
}

func decodeTrailer(p []byte, id record.Identity) (trailer, error) {
	if len(p) != TrailerSize {
		return trailer{}, fmt.Errorf("segment trailer of %d bytes: %w", len(p), record.ErrShort)
	}
	if err := checkBlock(p, trailerMagic, counted, id.Checksum(p[:offCRC])); err != nil {
		return trailer{}, fmt.Errorf("segment trailer: %w", err)
	}
	le := binary.LittleEndian
	return trailer{
		base: record.LSN(le.Uint64(p[8:])), next: record.LSN(le.Uint64(p[16:])),
		end: int64(le.Uint64(p[24:])), entries: int(le.Uint32(p[32:])),
		indexSum: le.Uint32(p[36:]), lastSum: le.Uint32(p[40:]), sum: le.Uint32(p[offCRC:]),
		counted: le.Uint16(p[4:]) == counted, stats: Stats{Zstd: le.Uint64(p[44:])},
	}, nil
}
