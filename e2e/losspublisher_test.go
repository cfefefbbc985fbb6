package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// lean is a connection of MQTT 3.1.1 that costs its test little: millions of messages pass.
type lean struct {
	net.Conn

	in   *bufio.Reader
	out  *bufio.Writer
	body []byte // of the last packet
}

func leanString(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func leanID(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

func errorIsSessionLost(err error) bool { return errors.Is(err, errSessionLost) }

// dialLean opens or resumes the session of a client; known tells that there is one.
func dialLean(addr, client string, known bool) (*lean, error) {
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &lean{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 64<<10)}
	conn.SetReadDeadline(time.Now().Add(patience))
	c.packet(0x10, leanString("MQTT"), []byte{4, 0, 0, 0}, leanString(client))
	if err = c.out.Flush(); err == nil {
		var kind byte
		var body []byte
		switch kind, body, err = c.next(); {
		case err != nil:
		case kind != 0x20 || body[1] != 0:
			err = fmt.Errorf("the broker answered CONNECT with %x %x", kind, body)
		case known && body[0] == 0:
			err = errSessionLost
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetReadDeadline(time.Time{})
	return c, nil
}

// packet writes a packet of at most 16,383 bytes into the buffer. Errors come at the flush.
func (c *lean) packet(first byte, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	c.out.WriteByte(first)
	if n >= 128 {
		c.out.WriteByte(byte(n) | 0x80)
		n >>= 7
	}
	c.out.WriteByte(byte(n))
	for _, p := range parts {
		c.out.Write(p)
	}
}

// next reads a packet; the body is valid until the next one.
func (c *lean) next() (first byte, body []byte, err error) {
	if first, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	if uint64(cap(c.body)) < n {
		c.body = make([]byte, n)
	}
	_, err = io.ReadFull(c.in, c.body[:n])
	return first, c.body[:n], err
}

// leanMessage is a PUBLISH of QoS 1 or 2 whose payload is a number.
type leanMessage struct {
	topic []byte
	qos   byte
	id    [2]byte
	seq   uint64
}

func parseLean(first byte, body []byte) (m leanMessage) {
	n := 2 + int(leanID(body))
	m.topic, m.qos = body[2:n], first>>1&3
	copy(m.id[:], body[n:])
	m.seq = binary.BigEndian.Uint64(body[n+2:])
	return m
}

// lossPublisher publishes numbers over many connections of one session, with QoS 1 and
// with QoS 2 by turns. After a reconnect it sends again, in order, what is not acknowledged.
type lossPublisher struct {
	run    *lossRun
	client string
	topics [3][]byte // by QoS

	mu       sync.Mutex
	room     *sync.Cond
	inflight []lossSent // in the order of sending
	sent     [3]uint64  // by QoS
	lastID   uint16
	ended    bool // the connection in use
	known    bool // there is a session
}

// lossSent is a message that is not completed.
type lossSent struct {
	id       uint16
	qos      byte
	received bool // PUBREC has come
	done     bool // and all else; in the list until those before it are done
	seq      uint64
}

// lossWindow is how many messages a publisher has in flight.
const lossWindow = 500

func newLossPublisher(r *lossRun, n int) *lossPublisher {
	p := &lossPublisher{run: r, client: fmt.Sprintf("loss-%d", n)}
	p.room = sync.NewCond(&p.mu)
	for qos := 1; qos <= 2; qos++ {
		p.topics[qos] = leanString(fmt.Sprintf("loss/%d/%d", n, qos))
	}
	return p
}

// connection publishes until the connection ends, or all is completed.
func (p *lossPublisher) connection(stop context.Context) (done bool) {
	c, err := dialLean(p.run.b.MQTT, p.client, p.known)
	if err != nil {
		if errorIsSessionLost(err) {
			p.run.breach("%s: %v", p.client, err)
		}
		return false
	}
	p.known, p.ended = true, false // nobody else is there
	release := context.AfterFunc(stop, func() { c.Close() })
	defer release()
	var reading sync.WaitGroup
	var writing sync.Mutex // the reader writes too: PUBREL
	reading.Go(func() { p.read(c, &writing) })
	p.resend(c, &writing)
	for p.publish(c, &writing) {
	}
	p.mu.Lock()
	done = p.completed()
	p.mu.Unlock()
	c.Close()
	reading.Wait()
	return done
}

// completed tells whether all numbers were sent and acknowledged. mu is held.
func (p *lossPublisher) completed() bool {
	return p.sent[1] == p.run.each && p.sent[2] == p.run.each && len(p.inflight) == 0
}

// resend sends again what the connection before has left.
func (p *lossPublisher) resend(c *lean, writing *sync.Mutex) {
	p.mu.Lock()
	again := append([]lossSent(nil), p.inflight...)
	p.mu.Unlock()
	writing.Lock()
	defer writing.Unlock()
	for _, m := range again {
		switch {
		case m.done:
		case m.received:
			c.packet(0x62, binary.BigEndian.AppendUint16(nil, m.id))
		default:
			p.send(c, m, 0x08)
		}
	}
	c.out.Flush()
}

func (p *lossPublisher) send(c *lean, m lossSent, dup byte) {
	var id, number [8]byte
	binary.BigEndian.PutUint16(id[:], m.id)
	binary.BigEndian.PutUint64(number[:], m.seq)
	c.packet(0x30|dup|m.qos<<1, p.topics[m.qos], id[:2], number[:])
}

// publish sends what the window has room for; false when the connection has ended or all
// is completed.
func (p *lossPublisher) publish(c *lean, writing *sync.Mutex) bool {
	p.mu.Lock()
	for !p.ended && !p.completed() && (len(p.inflight) >= lossWindow || p.sent[2] == p.run.each) {
		p.room.Wait()
	}
	if p.ended || p.completed() {
		p.mu.Unlock()
		return false
	}
	from := len(p.inflight)
	for len(p.inflight) < lossWindow && p.sent[2] < p.run.each {
		qos := byte(1)
		if p.sent[1] > p.sent[2] {
			qos = 2
		}
		p.sent[qos]++
		p.lastID = p.lastID%0xffff + 1
		p.inflight = append(p.inflight, lossSent{id: p.lastID, qos: qos, seq: p.sent[qos]})
	}
	fresh := append([]lossSent(nil), p.inflight[from:]...)
	p.mu.Unlock()
	writing.Lock()
	defer writing.Unlock()
	for _, m := range fresh {
		p.send(c, m, 0)
	}
	return c.out.Flush() == nil
}

// read takes acknowledgements until the connection ends.
func (p *lossPublisher) read(c *lean, writing *sync.Mutex) {
	defer func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.room.Broadcast()
	}()
	due := false // a PUBREL waits in the buffer
	for {
		if due && c.in.Buffered() == 0 {
			writing.Lock()
			err := c.out.Flush()
			writing.Unlock()
			if due = false; err != nil {
				return
			}
		}
		kind, body, err := c.next()
		if err != nil {
			return
		}
		p.acknowledge(kind>>4, leanID(body))
		if kind>>4 == 5 {
			writing.Lock()
			c.packet(0x62, body[:2])
			writing.Unlock()
			due = true
		}
	}
}

// acknowledge notes a PUBACK, PUBREC or PUBCOMP.
func (p *lossPublisher) acknowledge(kind byte, id uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.inflight {
		m := &p.inflight[i]
		if m.id != id || m.done {
			continue
		}
		if confirmed := kind == 4 || kind == 5 && !m.received; confirmed {
			p.run.progress.Add(1)
		}
		m.received = m.received || kind == 5
		m.done = kind == 4 || kind == 7
		break
	}
	n := 0
	for n < len(p.inflight) && p.inflight[n].done {
		n++
	}
	if n > 0 {
		p.inflight = p.inflight[n:]
		p.room.Broadcast()
	}
}
