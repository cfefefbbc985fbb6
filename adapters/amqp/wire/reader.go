package wire

import (
	"fmt"
	"io"
	"sync"
)

const (
	smallBuffer = 4 << 10   // what an idle connection holds
	largeBuffer = 136 << 10 // room for a burst, and for a frame of the default size

	maxEmptyReads = 100 // in a row, until a connection is taken for broken
)

var largeBuffers = sync.Pool{New: func() any {
	b := make([]byte, largeBuffer)
	return &b
}}

// Reader reads frames from a connection. It reads in bursts, as much as there
// is room for, and hands out the frames in place. An idle reader holds 4 KiB;
// a busy one borrows a large buffer until a read finds little again.
//
// A Reader is for one goroutine.
type Reader struct {
	src   io.Reader
	buf   []byte
	r, w  int
	need  int // size of the frame that buf[r:w] begins, 0 when not known
	limit uint32

	small  []byte  // the reader's own buffer
	pooled *[]byte // the borrowed buffer that buf is, or nil
}

// NewReader returns a reader that refuses payloads above limit bytes.
func NewReader(src io.Reader, limit uint32) *Reader {
	small := make([]byte, smallBuffer)
	return &Reader{src: src, buf: small, small: small, limit: limit}
}

// SetLimit changes the largest payload that is accepted.
func (r *Reader) SetLimit(limit uint32) { r.limit = limit }

// Next returns the next frame that is complete in the buffer; ok is false when
// Fill is needed first. The frame is valid until the next call of Fill.
func (r *Reader) Next() (f Frame, ok bool, err error) {
	f, n, need, err := ParseFrame(r.buf[r.r:r.w], r.limit)
	if err != nil {
		return Frame{}, false, err
	}
	if n == 0 {
		r.need = need
		return Frame{}, false, nil
	}
	r.r += n
	return f, true, nil
}

// Take returns the next n bytes if they are in the buffer. It reads what comes
// before the first frame.
func (r *Reader) Take(n int) (b []byte, ok bool) {
	if r.w-r.r < n {
		return nil, false
	}
	b = r.buf[r.r : r.r+n]
	r.r += n
	return b, true
}

// Buffered returns the bytes that were read and not yet taken.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Fill reads once from the connection, after making room.
func (r *Reader) Fill() error {
	r.makeRoom()
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read frames: %w", err)
		}
	}
	return io.ErrNoProgress
}

// Release gives a borrowed buffer back. The reader is not used after it.
func (r *Reader) Release() {
	r.replace(nil)
	r.r, r.w = 0, 0
}

// makeRoom moves what is left to the front and picks the buffer: the own one
// when nothing is left after a small burst, else a larger one when the last
// read filled what there was.
func (r *Reader) makeRoom() {
	left := r.buf[r.r:r.w]
	switch {
	case len(left) == 0 && r.w < smallBuffer, len(r.buf) > largeBuffer && len(left) <= smallBuffer:
		r.move(r.small, left)
	case r.w == len(r.buf):
		r.grow(left)
	case r.r > 0:
		r.w = copy(r.buf, left)
		r.r = 0
	}
}

// grow moves what is left to a larger buffer. That is a borrowed one, unless
// the limit is so low that the buffer can follow what was received; a frame
// that is too large even for the borrowed one gets twice the room each time
// that it has filled what there was.
func (r *Reader) grow(left []byte) {
	most := int(r.limit) + FrameOverhead
	switch {
	case most <= largeBuffer/2 && len(r.buf) < most:
		r.move(make([]byte, min(2*len(r.buf), most)), left)
	case most > largeBuffer/2 && len(r.buf) < largeBuffer:
		if big, ok := largeBuffers.Get().(*[]byte); ok {
			r.move(*big, left)
			r.pooled = big
		}
	case len(left) == len(r.buf):
		r.move(make([]byte, min(max(r.need, largeBuffer), 2*len(r.buf))), left)
	default:
		r.w = copy(r.buf, left)
		r.r = 0
	}
}

func (r *Reader) move(to, left []byte) {
	n := copy(to, left)
	r.replace(to)
	r.r, r.w = 0, n
}

func (r *Reader) replace(buf []byte) {
	if r.pooled != nil {
		largeBuffers.Put(r.pooled)
		r.pooled = nil
	}
	r.buf = buf
}
