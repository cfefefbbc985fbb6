package segment

import (
	"encoding/binary"

	"github.com/tidegate/tidegate/core/record"
)

// Stats counts what a segment holds.
type Stats struct {
	// Records and Batches are numbers of what is there.
	Records, Batches uint64
	// Raw is the length of all records, decoded, in bytes.
	Raw uint64
	// Zstd is the part of Raw, in bytes, that is stored with zstd. It is 0 in
	// segments that were sealed before it was counted.
	Zstd uint64
	// First and Last are the earliest and the latest time of a record, unix
	// milliseconds; both are 0 without records.
	First, Last int64
}

const statsSize = 40

// note counts a frame that is no mark.
func (s *Stats) note(h *record.Header) {
	s.Batches++
	if h.Count == 0 {
		return
	}
	first, last := min(h.First, h.Last), max(h.First, h.Last)
	if s.Records > 0 {
		first, last = min(first, s.First), max(last, s.Last)
	}
	s.First, s.Last = first, last
	s.Records += uint64(h.Count)
	s.Raw += uint64(h.Raw - h.Table)
	if h.Codec == record.CodecZstd {
		s.Zstd += uint64(h.Raw - h.Table)
	}
}

func (s *Stats) append(p []byte) []byte {
	for _, v := range [...]uint64{s.Records, s.Batches, s.Raw, uint64(s.First), uint64(s.Last)} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	return p
}

// decode reads what append wrote; p is statsSize bytes. Zstd, which stands
// in the trailer, stays.
func (s *Stats) decode(p []byte) {
	le := binary.LittleEndian
	*s = Stats{
		Records: le.Uint64(p), Batches: le.Uint64(p[8:]), Raw: le.Uint64(p[16:]), Zstd: s.Zstd,
		First: int64(le.Uint64(p[24:])), Last: int64(le.Uint64(p[32:])),
	}
}
