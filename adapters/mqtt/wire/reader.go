package wire

import (
	"errors"
	"io"
)

var errNoProgress = errors.New("reader returned no bytes and no error")

// Sizes of the read buffer: an idle connection holds the smallest, a busy one
// reads many packets with one call into the largest. Only a packet larger than
// that makes it grow further, and then with what has arrived.
const (
	minBuffer = 256
	maxBuffer = 64 << 10
)

// Reader cuts a byte stream into packets. It reads as much as the source gives
// at once, so that a burst of packets costs one call.
type Reader struct {
	src io.Reader
	// Limit is the largest packet in bytes, fixed header included. Larger ones
	// are refused from their header alone.
	Limit int
	// Strict refuses overlong lengths, see [ParseHeader].
	Strict bool

	buf        []byte
	start, end int
	slack      int // consecutive reads that used little of the buffer
}

// NewReader returns a reader of src with the given limit.
func NewReader(src io.Reader, limit int) *Reader { return &Reader{src: src, Limit: limit} }

// Packet returns the next packet that is whole in the buffer; ok is false when
// Fill is needed. body is valid until Fill.
func (r *Reader) Packet() (h Header, body []byte, ok bool, err error) {
	b := r.buf[r.start:r.end]
	h, ok, err = ParseHeader(b, r.Strict)
	if err != nil || !ok {
		return Header{}, nil, false, err
	}
	size := h.Size + h.Length
	if size > r.Limit {
		return h, nil, false, &Error{Reason: PacketTooLarge, Detail: "packet larger than the limit"}
	}
	if len(b) < size {
		return Header{}, nil, false, nil
	}
	r.start += size
	return h, b[h.Size:size:size], true, nil
}

// Fill reads from the source once. It blocks as the source does.
func (r *Reader) Fill() error {
	r.makeRoom()
	room := len(r.buf) - r.end
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		r.note(n, room)
		return nil
	}
	if err == nil {
		return errNoProgress
	}
	return err
}

// Partial tells whether the buffer holds the beginning of a packet.
func (r *Reader) Partial() bool { return r.end > r.start }

// makeRoom leaves at least one free byte at the end of the buffer, and picks
// its size.
func (r *Reader) makeRoom() {
	held := r.end - r.start
	want := len(r.buf)
	switch {
	case want == 0:
		want = minBuffer
	case held == want:
		want = grow(want)
	case held == 0 && want > maxBuffer:
		want = maxBuffer
	case r.slack >= 4 && want > minBuffer && held <= want/8:
		want /= 4
		r.slack = 0
	}
	if want == len(r.buf) {
		if r.start > 0 {
			copy(r.buf, r.buf[r.start:r.end])
		}
	} else {
		buf := make([]byte, want)
		copy(buf, r.buf[r.start:r.end])
		r.buf = buf
	}
	r.start, r.end = 0, held
}

// note learns from a read of n bytes into room how large the buffer should be.
func (r *Reader) note(n, room int) {
	switch {
	case n == room && len(r.buf) < maxBuffer:
		// The source had at least this much: ask for more next time.
		buf := make([]byte, grow(len(r.buf)))
		copy(buf, r.buf[r.start:r.end])
		r.start, r.end, r.buf = 0, r.end-r.start, buf
		r.slack = 0
	case n < len(r.buf)/8:
		r.slack++
	default:
		r.slack = 0
	}
}

func grow(size int) int {
	if size < maxBuffer {
		return min(size*4, maxBuffer)
	}
	return size * 2
}
