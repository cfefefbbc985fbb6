package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// amqpDriver runs over AMQP 0-9-1: persistent messages into durable queues,
// publisher confirms, manual acknowledgement of many deliveries at once.
type amqpDriver struct {
	options Options
	addr    string
	queue   string
	kind    string // type of the queues; "" is that of the broker
	keep    bool   // neither empty the queue nor delete it
}

func (d *amqpDriver) competing() bool { return d.options.Mode != modeFanout }

// queues are the queues that the run uses.
func (d *amqpDriver) queues() []string {
	if d.options.Mode != modeFanout {
		return []string{d.queue}
	}
	var names []string
	for i := range d.options.Consumers {
		names = append(names, d.queue+"."+strconv.Itoa(i))
	}
	return names
}

// exchange is where the publishers publish.
func (d *amqpDriver) exchange() string {
	if d.options.Mode == modeFanout {
		return d.queue + ".fanout"
	}
	return ""
}

func (d *amqpDriver) connect(ctx context.Context) (amqpConn, error) {
	conn, err := dial(ctx, d.addr)
	if err != nil {
		return amqpConn{}, err
	}
	c := amqpConn{conn}
	if err := c.login(d.options.User, d.options.Password); err != nil {
		return amqpConn{}, errors.Join(fmt.Errorf("log in: %w", err), conn.Close())
	}
	return c, nil
}

// with runs calls on a connection of their own.
func (d *amqpDriver) with(ctx context.Context, calls func(c amqpConn) error) error {
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	err = calls(c)
	if err == nil {
		err = c.call(0, method(10, 50).u16(200).short("").u16(0).u16(0), 10<<16|51) // connection.close
	}
	return errors.Join(err, c.Close())
}

// setup declares durable queues and empties them.
func (d *amqpDriver) setup(ctx context.Context) error {
	return d.with(ctx, func(c amqpConn) error {
		if x := d.exchange(); x != "" {
			declare := method(40, 10).u16(0).short(x).short("fanout").u8(durable).table()
			if err := c.call(1, declare, 40<<16|11); err != nil {
				return fmt.Errorf("declare exchange %s: %w", x, err)
			}
		}
		for _, q := range d.queues() {
			if err := d.setupQueue(c, q); err != nil {
				return fmt.Errorf("queue %s: %w", q, err)
			}
		}
		return nil
	})
}

// durable is the flag of queue.declare and exchange.declare.
const durable = 1 << 1

// arguments are those of queue.declare, as the inside of a table.
func (d *amqpDriver) arguments() args {
	if d.kind == "" {
		return nil
	}
	return args(nil).short("x-queue-type").u8('S').long(d.kind)
}

func (d *amqpDriver) setupQueue(c amqpConn, q string) error {
	if err := c.call(1, method(50, 10).u16(0).short(q).u8(durable).table(d.arguments()...), 50<<16|11); err != nil {
		return fmt.Errorf("declare: %w", err)
	}
	if !d.keep {
		if err := c.call(1, method(50, 30).u16(0).short(q).u8(0), 50<<16|31); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
	if x := d.exchange(); x != "" {
		bind := method(50, 20).u16(0).short(q).short(x).short("").u8(0).table()
		if err := c.call(1, bind, 50<<16|21); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	return nil
}

// cleanup deletes what setup declared.
func (d *amqpDriver) cleanup(ctx context.Context) error {
	if d.keep {
		return nil
	}
	return d.with(ctx, func(c amqpConn) error {
		for _, q := range d.queues() {
			if err := c.call(1, method(50, 40).u16(0).short(q).u8(0), 50<<16|41); err != nil {
				return fmt.Errorf("delete queue %s: %w", q, err)
			}
		}
		if x := d.exchange(); x != "" {
			if err := c.call(1, method(40, 20).u16(0).short(x).u8(0), 40<<16|21); err != nil {
				return fmt.Errorf("delete exchange %s: %w", x, err)
			}
		}
		return nil
	})
}

// publisher opens a channel in confirm mode.
func (d *amqpDriver) publisher(ctx context.Context, _ int) (net.Conn, publishWire, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := c.call(1, method(85, 10).u8(0), 85<<16|11); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("select confirms: %w", err), c.Close())
	}
	return c.Conn, newAMQPPublisher(d.exchange(), d.queue, d.options.Size, d.options.Window), nil
}

// amqpPublisher encodes publishes; all but the payload is the same each time.
type amqpPublisher struct {
	head []byte // method frame, header frame, head of the body frame
	size int    // the window
}

func newAMQPPublisher(exchange, key string, payload, window int) *amqpPublisher {
	const contentType, deliveryMode = 1 << 15, 1 << 12
	head := method(60, 40).u16(0).short(exchange).short(key).u8(0).frame(1)
	head = appendFrame(head, frameHeader, 1, func(buf []byte) []byte {
		a := args(buf).u16(60).u16(0).u64(uint64(payload))
		return a.u16(contentType | deliveryMode).short("application/json").u8(2)
	})
	head = append(head, frameBody, 0, 1)
	return &amqpPublisher{head: binary.BigEndian.AppendUint32(head, uint32(payload)), size: window}
}

func (p *amqpPublisher) window() int { return p.size }

func (p *amqpPublisher) appendMessage(buf []byte, _ uint64, payload []byte) []byte {
	buf = append(buf, p.head...)
	buf = append(buf, payload...)
	return append(buf, frameEnd)
}

func (p *amqpPublisher) confirms(buf []byte, w *window) (int, error) {
	used := 0
	for {
		f, size, err := nextFrame(buf[used:])
		if err != nil || size == 0 {
			return used, err
		}
		used += size
		switch f.method() {
		case basicAck:
			if len(f.payload) < 13 {
				return used, errors.New("the broker sent a short basic.ack")
			}
			tag := binary.BigEndian.Uint64(f.payload[4:])
			if f.payload[12]&1 == 1 {
				err = w.confirmUpTo(tag)
			} else {
				err = w.confirm(tag)
			}
		case basicNack:
			err = errors.New("the broker refused a message (basic.nack)")
		default:
			err = f.refused()
		}
		if err != nil {
			return used, err
		}
	}
}

// consumer consumes with manual acknowledgement and a prefetch of the window.
func (d *amqpDriver) consumer(ctx context.Context, i int) (net.Conn, consumeWire, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	queue := d.queues()[0]
	if d.options.Mode == modeFanout {
		queue = d.queues()[i]
	}
	qos := method(60, 10).u32(0).u16(uint16(d.options.Window)).u8(0)
	consume := method(60, 20).u16(0).short(queue).short("").u8(0).table()
	err = c.call(1, qos, 60<<16|11)
	if err == nil {
		err = c.call(1, consume, 60<<16|21)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("consume %s: %w", queue, err), c.Close())
	}
	return c.Conn, &amqpConsumer{}, nil
}

// amqpConsumer decodes deliveries: a method frame, a header frame and, as all
// payloads are smaller than a frame, one body frame.
type amqpConsumer struct {
	tag     uint64 // of the delivery being read
	flagged bool
	acked   uint64 // the highest tag that was acknowledged
	seen    uint64 // the highest tag that was reported
}

func (c *amqpConsumer) deliveries(buf []byte, got func([]byte, bool)) (int, error) {
	used := 0
	for {
		f, size, err := nextFrame(buf[used:])
		if err != nil || size == 0 {
			return used, err
		}
		used += size
		switch {
		case f.kind == frameBody:
			c.seen = c.tag
			got(f.payload, c.flagged)
		case f.method() == basicDeliver:
			err = c.begin(f.payload[4:])
		default:
			err = f.refused()
		}
		if err != nil {
			return used, err
		}
	}
}

// begin reads the arguments of a basic.deliver: consumer tag, delivery tag,
// redelivered.
func (c *amqpConsumer) begin(a []byte) error {
	if len(a) < 1 || len(a) < 1+int(a[0])+9 {
		return errors.New("the broker sent a short basic.deliver")
	}
	a = a[1+int(a[0]):]
	c.tag = binary.BigEndian.Uint64(a)
	c.flagged = a[8]&1 == 1
	return nil
}

func (c *amqpConsumer) appendAcks(buf []byte) []byte {
	if c.seen == c.acked {
		return buf
	}
	c.acked = c.seen
	const multiple = 1
	return appendFrame(buf, frameMethod, 1, method(60, 80).u64(c.seen).u8(multiple).payload)
}
