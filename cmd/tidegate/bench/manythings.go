package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// connections are those that a maker holds.
type connections []io.Closer

func (c *connections) close() error {
	var errs []error
	for _, conn := range *c {
		errs = append(errs, conn.Close())
	}
	*c = nil
	return errors.Join(errs...)
}

// remove does nothing: connections go when their maker is closed.
func (c *connections) remove(context.Context, int) error { return nil }

// manyAMQPConnections makes idle connections with open channels.
type manyAMQPConnections struct {
	connections

	driver   *amqpDriver
	channels int
}

func (m *manyAMQPConnections) create(ctx context.Context, _ int) error {
	c, err := m.driver.connect(ctx) // with channel 1
	if err != nil {
		return err
	}
	m.connections = append(m.connections, c)
	for n := 2; n <= m.channels; n++ {
		if err := c.call(uint16(n), method(20, 10).short(""), 20<<16|11); err != nil {
			return fmt.Errorf("open channel %d: %w", n, err)
		}
	}
	return nil
}

// manyQueues makes durable queues, without bindings of their own.
type manyQueues struct{ conn amqpConn }

func queueNumber(i int) string { return "tidegate-bench-" + strconv.Itoa(i) }

func (m *manyQueues) create(_ context.Context, i int) error {
	return m.conn.call(1, method(50, 10).u16(0).short(queueNumber(i)).u8(durable).table(), 50<<16|11)
}

func (m *manyQueues) remove(_ context.Context, i int) error {
	return m.conn.call(1, method(50, 40).u16(0).short(queueNumber(i)).u8(0), 50<<16|41)
}

func (m *manyQueues) close() error { return m.conn.Close() }

// manyMQTTConnections makes idle connections with clean sessions.
type manyMQTTConnections struct {
	connections

	driver *mqttDriver
}

func (m *manyMQTTConnections) create(ctx context.Context, i int) error {
	c, _, err := m.driver.connect(ctx, sessionNumber(i), true)
	if err != nil {
		return err
	}
	m.connections = append(m.connections, c)
	return nil
}

// manySessions makes sessions that last, each with a subscription to a topic
// that no other has, and leaves them offline.
type manySessions struct{ driver *mqttDriver }

func sessionNumber(i int) string { return "tidegate-bench-" + strconv.Itoa(i) }

func (m *manySessions) create(ctx context.Context, i int) error {
	return m.driver.offline(ctx, sessionNumber(i), "tidegate-bench/"+strconv.Itoa(i)+"/command")
}

func (m *manySessions) remove(ctx context.Context, i int) error {
	c, _, err := m.driver.connect(ctx, sessionNumber(i), true)
	if err != nil {
		return err
	}
	return c.disconnect()
}

func (m *manySessions) close() error { return nil }

// manyRetained makes retained messages of 64 bytes.
type manyRetained struct{ conn mqttConn }

func (m *manyRetained) create(_ context.Context, i int) error {
	return m.publish(i, make([]byte, minSize))
}

// remove clears a topic with an empty payload.
func (m *manyRetained) remove(_ context.Context, i int) error { return m.publish(i, nil) }

func (m *manyRetained) publish(i int, payload []byte) error {
	const qos1, retain = 1 << 1, 1
	// A thousand topics share their first two levels.
	topic := fmt.Sprintf("tidegate-bench/%d/%d/state", i/1000, i%1000)
	body := binary.BigEndian.AppendUint16(appendString(nil, topic), 1)
	body = append(append(body, 0), payload...)
	answer, err := m.conn.call(packetPublish|qos1|retain, body, packetPuback)
	if err != nil {
		return err
	}
	if len(answer) > 2 && answer[2] >= 0x80 {
		return fmt.Errorf("the broker refused a message: PUBACK %#x", answer[2])
	}
	return nil
}

func (m *manyRetained) close() error { return m.conn.disconnect() }
