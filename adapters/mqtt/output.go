package mqtt

import (
	"sync"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// Sizes of output buffers. Between bursts a connection holds none.
const (
	firstBuffer  = 2 << 10
	pooledBuffer = 256 << 10
	// highMark is how much output is gathered before it is written.
	highMark = 128 << 10
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, firstBuffer)
	return &b
}}

// output gathers the packets that are to be written to a connection. Whoever
// appends wakes the writer afterwards.
type output struct {
	limit     int // see Config.OutputLimit
	maxPacket int // the largest packet the client takes; 0 is no limit

	mu      sync.Mutex
	room    sync.Cond // the writer has taken the buffer, or it is closed
	buf     *[]byte   // nil when there is nothing to write
	open    bool      // CONNACK is in: other packets may follow
	closed  bool      // nothing more may be appended
	aliases session.AliasesOut
	msg     wire.Outgoing // scratch for live messages
	ids     []uint32      // scratch for subscription identifiers
}

func newOutput(limit int) *output {
	o := &output{limit: limit}
	o.room.L = &o.mu
	return o
}

// bytes returns the buffer to append to; store the result with put. The mutex
// must be held.
func (o *output) bytes() []byte {
	if o.buf == nil {
		b, ok := buffers.Get().(*[]byte)
		if !ok {
			b = new([]byte)
		}
		o.buf = b
	}
	return *o.buf
}

// fits tells whether the client takes a packet of n bytes.
func (o *output) fits(n int) bool { return o.maxPacket == 0 || n <= o.maxPacket }

func (o *output) put(b []byte) { *o.buf = b }

func (o *output) len() int {
	if o.buf == nil {
		return 0
	}
	return len(*o.buf)
}

// state tells how many bytes wait, and whether no more may be appended.
func (o *output) state() (waiting int, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.len(), o.closed
}

// reserve locks the output for the reply of the reader, once there is room; a
// client that sends and never reads is not read any further. When ok is false
// the output is closed and not locked.
func (o *output) reserve() (ok bool) {
	o.mu.Lock()
	for !o.closed && o.len() >= o.limit {
		o.room.Wait()
	}
	if o.closed {
		o.mu.Unlock()
		return false
	}
	return true
}

// take hands the gathered packets to the writer, nil when there are none. last
// tells that none will follow.
func (o *output) take() (buf *[]byte, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.len() == 0 { // a buffer that nothing was appended to waits for the next
		return nil, o.closed
	}
	buf, o.buf = o.buf, nil
	o.room.Broadcast()
	return buf, o.closed
}

// release gives a written buffer back.
func (o *output) release(buf *[]byte) {
	if cap(*buf) <= pooledBuffer {
		*buf = (*buf)[:0]
		buffers.Put(buf)
	}
}

// publish appends a PUBLISH, with a topic alias where the client has room for
// one. It returns false, and appends nothing, when the packet is larger than
// the client takes. The mutex must be held.
func (o *output) publish(p *wire.Outgoing) (fits bool) {
	p.Alias, p.OmitTopic = 0, false
	proposed := false
	if p.V5 {
		p.Alias, p.OmitTopic = o.aliases.Find(p.Topic)
		proposed = p.Alias != 0 && !p.OmitTopic
	}
	if !o.fits(p.Size()) {
		if !proposed {
			return false
		}
		if p.Alias, proposed = 0, false; !o.fits(p.Size()) {
			return false
		}
	}
	o.put(p.Append(o.bytes()))
	if proposed {
		o.aliases.Sent(p.Topic, p.Alias)
	}
	return true
}
