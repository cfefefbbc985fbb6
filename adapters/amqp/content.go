package amqp

import (
	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// keepAssembly is the largest buffer for bodies in parts that is kept.
const keepAssembly = 1 << 20

// content gathers the frames of one publish. What the method and the header
// say is copied, because later frames may come with another read; a body that
// comes in one frame is used where it lies, one in parts is assembled.
type content struct {
	stage     stage
	mandatory bool
	immediate bool
	size      uint64
	names     []byte // exchange, then routing key, then property bytes
	exchange  int    // where the exchange ends in names
	key       int    // where the routing key ends in names

	properties wire.Properties // points into names
	payload    []byte          // complete, or what has come
	assembly   []byte          // buffer for bodies in parts
}

type stage uint8

const (
	noContent stage = iota
	wantHeader
	wantBody
	complete
)

// begin takes a basic.publish.
func (t *content) begin(m *wire.BasicPublish) {
	t.names = append(t.names[:0], m.Exchange...)
	t.exchange = len(t.names)
	t.names = append(t.names, m.RoutingKey...)
	t.key = len(t.names)
	t.mandatory, t.immediate = m.Mandatory, m.Immediate
	t.stage = wantHeader
}

// expected tells whether a content frame has to come next.
func (t *content) expected() bool { return t.stage == wantHeader || t.stage == wantBody }

// complete tells whether everything has come.
func (t *content) complete() bool { return t.stage == complete }

// header takes the payload of a header frame. Bodies above maxSize are refused.
func (t *content) header(payload []byte, maxSize int) error {
	if t.stage != wantHeader {
		return refuse(codeUnexpectedFrame, "content header without basic.publish")
	}
	h, err := wire.ParseHeader(payload)
	if err != nil {
		return malformed(wire.IDBasicPublish, err)
	}
	if h.Class != wire.IDBasicPublish.Class() {
		return refuse(codeUnexpectedFrame, "content header of class %d while class %d is expected",
			h.Class, wire.IDBasicPublish.Class())
	}
	t.names = append(t.names, h.Properties...)
	if err := t.properties.Parse(t.names[t.key:]); err != nil {
		return malformed(wire.IDBasicPublish, err)
	}
	if h.BodySize > uint64(maxSize) {
		return refuse(codePreconditionFailed, "message size %d is larger than configured max size %d", h.BodySize, maxSize)
	}
	t.size = h.BodySize
	t.payload = nil
	t.stage = wantBody
	if t.size == 0 {
		t.stage = complete
	}
	return nil
}

// body takes the payload of a body frame, which is used in place when it is all.
func (t *content) body(payload []byte) error {
	if t.stage != wantBody {
		return refuse(codeUnexpectedFrame, "content body that no header announced")
	}
	have := uint64(len(t.payload))
	switch have += uint64(len(payload)); {
	case have > t.size:
		return refuse(codeFrameError, "content body is larger than the %d bytes that its header announced", t.size)
	case have == t.size:
		t.stage = complete
	}
	if len(t.payload) == 0 && t.stage == complete {
		t.payload = payload
		return nil
	}
	// The buffer grows by what came, never by what was announced.
	t.assembly = append(t.assembly[:len(t.payload)], payload...)
	t.payload = t.assembly
	return nil
}

// keep copies a complete body out of the bytes that were read.
func (t *content) keep() {
	t.assembly = append(t.assembly[:0], t.payload...)
	t.payload = t.assembly
}

// reset forgets the content.
func (t *content) reset() {
	t.stage = noContent
	t.payload = nil
	t.properties = wire.Properties{}
	if cap(t.assembly) > keepAssembly {
		t.assembly = nil
	}
}
