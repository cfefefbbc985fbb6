package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// Encoder writes frames. It keeps its buffers between calls. It is not safe
// for concurrent use; the zero value is ready.
type Encoder struct {
	// Zstd compresses every batch with zstd instead of s2, and not only those that
	// ask to be small: smaller by about 40 % and four times slower.
	Zstd bool

	buf []byte
}

// maxKept is the largest buffer that an encoder keeps for its next call.
const maxKept = 16 << 20

// Encode returns the frame of the batch, valid until the next call.
// watermark is the position in the frame's file up to which the last completed
// sync reached. The batch stays as it is, but for the spare capacity behind
// b.Raw, which Encode may write to. ErrTooLarge when the batch does not fit in
// a frame, ErrCorrupt when its Ends are not those of its Raw, or its Sparse not
// those of its range.
func (e *Encoder) Encode(b *Batch, id Identity, watermark uint64) ([]byte, error) {
	if err := check(b); err != nil {
		return nil, err
	}
	all := appendTable(b.Raw, b.Ends)
	if b.Until != 0 {
		all = appendSparse(all, b)
	}
	h := Header{
		Sync: b.Sync, Term: b.Term, Index: b.Index, Base: b.Base, Until: b.Until, Count: len(b.Ends),
		Raw: len(all), Table: len(all) - len(b.Raw),
		First: b.First, Last: b.Last, Watermark: watermark,
	}
	b.Raw = all[:len(b.Raw)]
	if h.Raw > MaxRaw {
		return nil, fmt.Errorf("batch %d of %d bytes: %w", b.Base, h.Raw, ErrTooLarge)
	}
	var err error
	e.buf, h.Codec, err = pack(e.header(), all, e.Zstd || b.Small)
	if err != nil {
		return nil, fmt.Errorf("batch %d: %w", b.Base, err)
	}
	return e.finish(&h, id), nil
}

// EncodeMark returns a frame without a batch that carries the watermark, valid
// until the next call. next is the LSN of the next record.
func (e *Encoder) EncodeMark(next LSN, id Identity, watermark uint64) []byte {
	e.buf = e.header()
	return e.finish(&Header{Mark: true, Base: next, Watermark: watermark}, id)
}

// header returns the emptied buffer with room for a header in it.
func (e *Encoder) header() []byte {
	if cap(e.buf) > maxKept {
		e.buf = nil
	}
	return slices.Grow(e.buf[:0], HeaderSize)[:HeaderSize]
}

// finish writes the header before the payload that is in the buffer.
func (e *Encoder) finish(h *Header, id Identity) []byte {
	h.Stored = len(e.buf) - HeaderSize
	h.put(e.buf)
	seal(e.buf, id)
	return e.buf
}

// check tells whether Ends partition Raw into records, as a decoder will demand.
func check(b *Batch) error {
	if len(b.Raw) > MaxRaw {
		return fmt.Errorf("batch %d of %d bytes: %w", b.Base, len(b.Raw), ErrTooLarge)
	}
	last := uint32(0)
	for _, end := range b.Ends {
		if end <= last {
			return fmt.Errorf("batch %d: record ends do not ascend: %w", b.Base, ErrCorrupt)
		}
		last = end
	}
	if uint64(last) != uint64(len(b.Raw)) {
		return fmt.Errorf("batch %d: records end at %d of %d bytes: %w", b.Base, last, len(b.Raw), ErrCorrupt)
	}
	if b.Until != 0 {
		return checkSparse(b)
	}
	return nil
}

// appendTable appends the length of each record.
func appendTable(dst []byte, ends []uint32) []byte {
	last := uint32(0)
	for _, end := range ends {
		dst = binary.AppendUvarint(dst, uint64(end-last))
		last = end
	}
	return dst
}

// DecodeFrame reads the frame at the start of p into the batch, whose buffers
// it reuses, and returns the frame's length. A mark gives an empty batch;
// [DecodeHeader] tells it from a batch without records. Nothing of the batch
// aliases p. On an error the batch is left empty.
func DecodeFrame(p []byte, id Identity, into *Batch) (int, error) {
	into.Reset()
	h, err := DecodeHeader(p, id)
	if err != nil {
		return 0, err
	}
	if len(p) < h.Size() {
		return 0, fmt.Errorf("frame payload: %w", ErrShort)
	}
	payload := p[HeaderSize:h.Size()]
	sum := crc32.Update(id.sum(), castagnoli, p[:offSum])
	if crc32.Update(sum, castagnoli, payload) != h.Sum {
		return 0, fmt.Errorf("frame checksum: %w", ErrCorrupt)
	}
	if into.Raw, err = unpack(into.Raw, payload, h.Codec, h.Raw); err != nil {
		into.Raw = into.Raw[:0]
		return 0, err
	}
	into.Base, into.Until, into.Term, into.Index = h.Base, h.Until, h.Term, h.Index
	into.First, into.Last, into.Sync = h.First, h.Last, h.Sync
	if err := into.split(&h); err != nil {
		into.Reset()
		return 0, err
	}
	return h.Size(), nil
}

// split cuts the tables from Raw and builds Ends from the first, and for a
// sparse batch Sparse and Times from the others.
func (b *Batch) split(h *Header) error {
	records := h.Raw - h.Table
	table := b.Raw[records:]
	b.Ends = slices.Grow(b.Ends[:0], h.Count)
	end := uint64(0)
	for range h.Count {
		n, size := binary.Uvarint(table)
		if size <= 0 || n == 0 || n > uint64(records)-end {
			return fmt.Errorf("frame length table: %w", ErrCorrupt)
		}
		end += n
		table = table[size:]
		b.Ends = append(b.Ends, uint32(end))
	}
	var err error
	if h.Sparse() {
		table, err = b.splitSparse(table, h.Count)
	} else {
		b.Sparse, b.Times = nil, nil
	}
	if err != nil {
		return err
	}
	if len(table) > 0 || end != uint64(records) {
		return fmt.Errorf("frame length table: %w", ErrCorrupt)
	}
	b.Raw = b.Raw[:records]
	return nil
}
