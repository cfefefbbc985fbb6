package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// mqttDriver runs over MQTT 3.1.1 or 5.
type mqttDriver struct {
	options Options
	addr    string
	topic   string
	qos     byte
	version byte
	durable bool
}

func (d *mqttDriver) competing() bool { return false }

// sessions are the client ids of sessions that outlive their connections.
func (d *mqttDriver) sessions() []string {
	switch {
	case !d.durable:
		return nil
	case d.options.Mode == modePublish:
		return []string{"tidegate-bench-offline"}
	}
	var ids []string
	for i := range max(d.options.Consumers, 1) {
		ids = append(ids, d.consumerID(i))
	}
	return ids
}

func (d *mqttDriver) consumerID(i int) string { return "tidegate-bench-consumer-" + strconv.Itoa(i) }

// connect opens an MQTT connection.
func (d *mqttDriver) connect(ctx context.Context, id string, clean bool) (mqttConn, int, error) {
	conn, err := dial(ctx, d.addr)
	if err != nil {
		return mqttConn{}, 0, err
	}
	c := mqttConn{conn, d.version}
	receive, err := c.connect(connectOptions{
		clientID: id, user: d.options.User, password: d.options.Password, clean: clean,
		receiveMaximum: uint16(d.options.Window),
	})
	if err != nil {
		return mqttConn{}, 0, errors.Join(fmt.Errorf("connect %s: %w", id, err), conn.Close())
	}
	return c, receive, nil
}

// setup forgets the sessions of an earlier run, and makes those that are offline
// while the run publishes.
func (d *mqttDriver) setup(ctx context.Context) error {
	if err := d.cleanup(ctx); err != nil {
		return err
	}
	switch {
	case d.durable && d.options.Mode == modePublish:
		return d.offline(ctx, d.sessions()[0], "#")
	case d.durable && d.options.Mode == modeBacklog:
		for _, id := range d.sessions() {
			if err := d.offline(ctx, id, d.topic+"/#"); err != nil {
				return err
			}
		}
	}
	return nil
}

// offline makes a session that lasts, with one subscription, and leaves it.
func (d *mqttDriver) offline(ctx context.Context, id, filter string) error {
	c, _, err := d.connect(ctx, id, false)
	if err != nil {
		return err
	}
	if err := c.subscribe(filter, max(d.qos, 1)); err != nil {
		return errors.Join(err, c.Close())
	}
	return c.disconnect()
}

// cleanup ends the sessions by connecting with a clean start.
func (d *mqttDriver) cleanup(ctx context.Context) error {
	for _, id := range d.sessions() {
		c, _, err := d.connect(ctx, id, true)
		if err != nil {
			return err
		}
		if err := c.disconnect(); err != nil {
			return fmt.Errorf("end session %s: %w", id, err)
		}
	}
	return nil
}

func (d *mqttDriver) publisher(ctx context.Context, i int) (net.Conn, publishWire, error) {
	c, receive, err := d.connect(ctx, "tidegate-bench-publisher-"+strconv.Itoa(i), true)
	if err != nil {
		return nil, nil, err
	}
	p := &mqttPublisher{qos: d.qos, size: min(d.options.Window, receive)}
	if d.qos == 0 {
		p.size = 0
	}
	p.encode(d.topic+"/"+strconv.Itoa(i), d.options.Size, d.version)
	return c.Conn, p, nil
}

// mqttPublisher encodes publishes; all but packet id and payload is the same
// each time.
type mqttPublisher struct {
	qos      byte
	size     int
	head     []byte // fixed header and topic
	property []byte // the empty properties of MQTT 5
}

// encode prepares what all publishes share.
func (p *mqttPublisher) encode(topic string, payload int, version byte) {
	if version == version5 {
		p.property = []byte{0}
	}
	rest := 2 + len(topic) + len(p.property) + payload
	if p.qos > 0 {
		rest += 2
	}
	p.head = appendString(appendLength([]byte{packetPublish | p.qos<<1}, rest), topic)
}

func (p *mqttPublisher) window() int { return p.size }

func (p *mqttPublisher) appendMessage(buf []byte, n uint64, payload []byte) []byte {
	buf = append(buf, p.head...)
	if p.qos > 0 {
		buf = binary.BigEndian.AppendUint16(buf, packetID(n))
	}
	buf = append(buf, p.property...)
	return append(buf, payload...)
}

// packetID gives message n its packet id: 1 to 65,535 in turn.
func packetID(n uint64) uint16 { return uint16((n-1)%packetIDs + 1) }

// numberOf finds the message behind a packet id: the first from low on that
// has it. The window is smaller than the number of ids, so there is only one.
func numberOf(id uint16, low uint64) uint64 {
	return low + (uint64(id)+packetIDs-uint64(packetID(low)))%packetIDs
}

func (p *mqttPublisher) confirms(buf []byte, w *window) (int, error) {
	used := 0
	for {
		packet, size, err := nextPacket(buf[used:])
		if err != nil || size == 0 {
			return used, err
		}
		used += size
		switch packet.kind() {
		case packetPuback:
			switch {
			case len(packet.body) < 2:
				return used, errors.New("the broker sent a PUBACK without packet id")
			case len(packet.body) > 2 && packet.body[2] >= 0x80:
				return used, fmt.Errorf("the broker refused a message: PUBACK %#x", packet.body[2])
			}
			if err := w.confirm(numberOf(binary.BigEndian.Uint16(packet.body), w.next)); err != nil {
				return used, err
			}
		case packetDisconnect:
			return used, fmt.Errorf("the broker disconnected: % x", packet.body)
		default:
			return used, fmt.Errorf("the broker sent packet type %#x to a publisher", packet.head)
		}
	}
}

func (d *mqttDriver) consumer(ctx context.Context, i int) (net.Conn, consumeWire, error) {
	c, _, err := d.connect(ctx, d.consumerID(i), !d.durable)
	if err != nil {
		return nil, nil, err
	}
	if d.options.Mode != modeBacklog { // there the session has its subscription
		if err := c.subscribe(d.topic+"/#", d.qos); err != nil {
			return nil, nil, errors.Join(err, c.Close())
		}
	}
	return c.Conn, &mqttConsumer{version: d.version}, nil
}

// mqttConsumer decodes PUBLISH packets and answers each with PUBACK.
type mqttConsumer struct {
	version byte
	acks    []byte
}

func (c *mqttConsumer) deliveries(buf []byte, got func([]byte, bool)) (int, error) {
	used := 0
	for {
		packet, size, err := nextPacket(buf[used:])
		if err != nil || size == 0 {
			return used, err
		}
		used += size
		switch packet.kind() {
		case packetPublish:
			payload, err := c.payload(packet)
			if err != nil {
				return used, err
			}
			got(payload, packet.head&flagDup != 0)
		case packetDisconnect:
			return used, fmt.Errorf("the broker disconnected: % x", packet.body)
		default:
			return used, fmt.Errorf("the broker sent packet type %#x to a consumer", packet.head)
		}
	}
}

// payload finds the payload of a PUBLISH and notes its acknowledgement.
func (c *mqttConsumer) payload(p mqttPacket) ([]byte, error) {
	errShort := errors.New("the broker sent a short PUBLISH")
	if len(p.body) < 2 {
		return nil, errShort
	}
	at := 2 + int(binary.BigEndian.Uint16(p.body))
	if qos := p.head >> 1 & 3; qos > 0 {
		if len(p.body) < at+2 {
			return nil, errShort
		}
		c.acks = append(c.acks, packetPuback, 2, p.body[at], p.body[at+1])
		at += 2
	}
	if c.version == version5 {
		length, shift := 0, 0
		for {
			if at >= len(p.body) || shift > 21 {
				return nil, errShort
			}
			b := p.body[at]
			at++
			length |= int(b&0x7F) << shift
			if b&0x80 == 0 {
				break
			}
			shift += 7
		}
		at += length
	}
	if at > len(p.body) {
		return nil, errShort
	}
	return p.body[at:], nil
}

func (c *mqttConsumer) appendAcks(buf []byte) []byte {
	buf = append(buf, c.acks...)
	c.acks = c.acks[:0]
	return buf
}
