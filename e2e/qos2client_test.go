package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/tidegate/tidegate/e2e/checker"
)

// errSessionLost tells that the broker forgot a session it had promised to
// keep.
var errSessionLost = errors.New("the broker forgot the session")

// qos2Publisher publishes QoS 2 messages over many connections of one session,
// as the specification asks: after a reconnect it resends what has no PUBREC
// with DUP and the same packet id, and PUBREL for what has one. A message that is
// refused is given up: what was sent behind it may have been taken, so that it would come
// out of order. All that is in flight is answered then before the connection ends.
type qos2Publisher struct {
	addr, name, topic string
	history           *checker.History
	window            int

	mu       sync.Mutex
	room     *sync.Cond // signalled when inflight shrinks or the connection ends
	inflight []*qos2Message
	nextID   uint16
	known    bool  // the broker has confirmed that it keeps the session
	ended    bool  // the connection in use has ended
	refused  error // why the connection in use is to end
}

// qos2Message is one message between its first PUBLISH and its PUBCOMP.
type qos2Message struct {
	packetID uint16
	id       checker.ID
	received bool // PUBREC came
}

func newQoS2Publisher(addr, name, topic string, window int, h *checker.History) *qos2Publisher {
	p := &qos2Publisher{addr: addr, name: name, topic: topic, history: h, window: window}
	p.room = sync.NewCond(&p.mu)
	return p
}

// run serves one connection: it publishes until stop is done and then until
// nothing is in flight, or until the connection ends. It returns nil when all
// is completed.
func (p *qos2Publisher) run(stop context.Context) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := p.connect(conn); err != nil {
		return err
	}
	wire := packets.NewThreadSafeConn(conn)
	p.mu.Lock()
	p.ended, p.refused = false, nil
	p.mu.Unlock()
	forget := context.AfterFunc(stop, func() {
		conn.SetDeadline(time.Now().Add(patience)) // what is in flight must complete by then
		p.room.Broadcast()
	})
	defer forget()

	var reading sync.WaitGroup
	var readErr error
	reading.Go(func() { readErr = p.read(wire) })
	writeErr := p.write(stop, wire)
	conn.Close()
	reading.Wait()
	if writeErr == nil {
		return nil
	}
	return errors.Join(writeErr, readErr)
}

// connect opens or resumes the session.
func (p *qos2Publisher) connect(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	forever := uint32(0xFFFFFFFF)
	c := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: p.name, KeepAlive: 60,
		Properties: &packets.Properties{SessionExpiryInterval: &forever},
	}
	if _, err := c.WriteTo(conn); err != nil {
		return fmt.Errorf("send CONNECT: %w", err)
	}
	answer, err := packets.ReadPacket(conn)
	if err != nil {
		return fmt.Errorf("read CONNACK: %w", err)
	}
	connack, ok := answer.Content.(*packets.Connack)
	if !ok || connack.ReasonCode != 0 {
		return fmt.Errorf("the broker answered CONNECT with %v", answer)
	}
	if p.known && !connack.SessionPresent {
		return errSessionLost
	}
	p.known = true
	return conn.SetDeadline(time.Time{})
}

// write resends what is in flight, then publishes.
func (p *qos2Publisher) write(stop context.Context, conn net.Conn) error {
	p.mu.Lock()
	resend := make([]qos2Message, 0, len(p.inflight))
	for _, m := range p.inflight {
		resend = append(resend, *m)
	}
	p.mu.Unlock()
	for _, m := range resend {
		if err := p.send(conn, m, true); err != nil {
			return err
		}
	}
	for {
		m, more := p.claim(stop)
		if !more {
			return p.outcome()
		}
		if err := p.send(conn, m, false); err != nil {
			return err
		}
	}
}

func (p *qos2Publisher) send(conn net.Conn, m qos2Message, again bool) error {
	if m.received {
		_, err := (&packets.Pubrel{PacketID: m.packetID, Properties: &packets.Properties{}}).WriteTo(conn)
		return err
	}
	publish := &packets.Publish{
		Topic: p.topic, QoS: 2, PacketID: m.packetID, Duplicate: again,
		Payload: []byte(m.id.String()), Properties: &packets.Properties{},
	}
	_, err := publish.WriteTo(conn)
	return err
}

// claim waits for room in the window and takes the next message. It returns
// false when the connection has ended, or when stop is done and nothing is in
// flight.
func (p *qos2Publisher) claim(stop context.Context) (qos2Message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended && (len(p.inflight) >= p.window || p.refused != nil || stop.Err() != nil && len(p.inflight) > 0) {
		p.room.Wait()
	}
	if p.ended || stop.Err() != nil {
		return qos2Message{}, false
	}
	p.nextID = p.nextID%0xFFFF + 1
	m := &qos2Message{packetID: p.nextID, id: p.history.Attempt(p.name)}
	p.inflight = append(p.inflight, m)
	return *m, true
}

// outcome tells why claim gave up.
func (p *qos2Publisher) outcome() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return net.ErrClosed
	}
	return nil
}

// read handles the broker's answers until the connection ends.
func (p *qos2Publisher) read(conn net.Conn) error {
	defer func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.room.Broadcast()
	}()
	for {
		packet, err := packets.ReadPacket(conn)
		if err != nil {
			return err
		}
		switch c := packet.Content.(type) {
		case *packets.Pubrec:
			if c.ReasonCode >= 0x80 {
				p.refuse(c.PacketID, c.ReasonCode)
			} else if err := p.release(conn, c.PacketID); err != nil {
				return err
			}
		case *packets.Pubcomp:
			p.complete(c.PacketID)
		case *packets.Disconnect:
			return fmt.Errorf("the broker disconnected: %#x", c.ReasonCode)
		default:
			return fmt.Errorf("unexpected packet %v", packet)
		}
		if err := p.refusal(); err != nil {
			return err
		}
	}
}

// release notes a PUBREC and answers it.
func (p *qos2Publisher) release(conn net.Conn, packetID uint16) error {
	p.mu.Lock()
	for _, m := range p.inflight {
		if m.packetID == packetID && !m.received {
			m.received = true
			p.history.Confirmed(m.id)
		}
	}
	p.mu.Unlock()
	_, err := (&packets.Pubrel{PacketID: packetID, Properties: &packets.Properties{}}).WriteTo(conn)
	return err
}

// refuse gives up a message that the broker has refused.
func (p *qos2Publisher) refuse(packetID uint16, reason byte) {
	p.complete(packetID)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = fmt.Errorf("the broker refused packet %d: %#x", packetID, reason)
}

// refusal tells why the connection has to end, once nothing is in flight.
func (p *qos2Publisher) refusal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inflight) > 0 {
		return nil
	}
	return p.refused
}

// complete forgets a message.
func (p *qos2Publisher) complete(packetID uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.inflight {
		if m.packetID == packetID {
			p.inflight = append(p.inflight[:i], p.inflight[i+1:]...)
			break
		}
	}
	p.room.Broadcast()
}
