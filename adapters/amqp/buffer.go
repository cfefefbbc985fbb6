package amqp

import "sync"

const (
	firstBuffer = 16 << 10
	// keepBuffer is the largest buffer that is used again.
	keepBuffer = 1 << 20
)

// Idle connections hold no output buffer: it goes back to buffers when it was
// written. The pool holds boxed slices, and boxes keeps the empty boxes, so
// that neither way allocates.
var buffers, boxes sync.Pool

func newBuffer() []byte {
	box, ok := buffers.Get().(*[]byte)
	if !ok {
		return make([]byte, 0, firstBuffer)
	}
	buf := (*box)[:0]
	*box = nil
	boxes.Put(box)
	return buf
}

func recycle(buf []byte) {
	if cap(buf) < firstBuffer || cap(buf) > keepBuffer {
		return
	}
	box, ok := boxes.Get().(*[]byte)
	if !ok {
		box = new([]byte)
	}
	*box = buf
	buffers.Put(box)
}
