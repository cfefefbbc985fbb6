// Package bench measures a broker over its wire protocol: rate, latency, loss,
// duplicates, order, and what a message costs in processor time. It speaks
// plain AMQP 0-9-1 and MQTT, so it measures other brokers as well. Its own
// encoders are lean because it usually shares the machine with the broker.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Options are the flags that both protocols have.
type Options struct {
	Size      int           `help:"Bytes of payload, 64 to 65536." default:"256"`
	Clients   int           `help:"Publishing connections, at most 1000." default:"4"`
	Consumers int           `help:"Consuming connections; 0 means 1, and 10 in mode fanout." default:"0"`
	Window    int           `help:"Messages that each publisher leaves unconfirmed, and each consumer unacknowledged." default:"1000"`
	Duration  time.Duration `help:"How long to publish, in all modes but backlog; in mode drain how long to consume at most." default:"5s"`
	Mode      string        `help:"What to measure: publish (to the confirm), e2e (to consumers), fanout (every message to every consumer), backlog (publish with nobody consuming, then drain), drain (consume what the queue holds; AMQP only)." enum:"publish,e2e,fanout,backlog,drain" default:"publish"`
	Messages  uint64        `help:"Mode backlog: how many messages to publish over all publishers." default:"1000000"`
	Settle    time.Duration `help:"Mode backlog: how long to wait between publishing and draining."`
	Data      string        `help:"Mode backlog: data directory of a broker on this machine: report its size too." type:"existingdir"`
	Rate      int           `help:"Messages per second over all publishers, in mode drain over all consumers; 0 means as fast as the window allows." default:"0"`
	User      string        `help:"User name." default:"guest"`
	Password  string        `help:"Password." default:"guest"`
	PID       int           `name:"pid" help:"Process of the broker on this machine: report its processor time too." default:"0"`
	JSON      bool          `name:"json" help:"Print the result as JSON."`
}

// Command is the command line "tidegate bench".
type Command struct {
	AMQP AMQPCommand `cmd:"" name:"amqp" help:"Measure a broker over AMQP 0-9-1: persistent messages, publisher confirms, manual acknowledgement."`
	MQTT MQTTCommand `cmd:"" name:"mqtt" help:"Measure a broker over MQTT."`
	Many ManyCommand `cmd:"" name:"many" help:"Make a great number of connections, queues, sessions or retained messages, and tell what each costs."`
}

// AMQPCommand is the command line "tidegate bench amqp".
type AMQPCommand struct {
	Options `embed:""`

	Addr  string `help:"Address of the broker." default:"127.0.0.1:5672"`
	Queue string `help:"Durable queue to use. It is emptied before the run and deleted after it, but in mode drain." default:"tidegate-bench"`
	Type  string `name:"queue-type" help:"Type of the queues: classic or quorum; the broker's own if left out." enum:",classic,quorum" default:""`
	Keep  bool   `help:"Use the queue as it is and leave it: to fill one that mode drain empties."`
}

// Run measures and prints the result.
func (c *AMQPCommand) Run(ctx context.Context, out io.Writer) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return c.run(ctx, out, "amqp", c.Addr, &amqpDriver{
		options: c.Options, addr: c.Addr, queue: c.Queue, kind: c.Type, keep: c.Keep || c.Mode == modeDrain,
	})
}

// MQTTCommand is the command line "tidegate bench mqtt".
type MQTTCommand struct {
	Options `embed:""`

	Addr           string `help:"Address of the broker." default:"127.0.0.1:1883"`
	Topic          string `help:"Publishers use this topic and their number below it." default:"tidegate-bench"`
	QoS            int    `name:"qos" help:"Quality of service, 0 or 1." enum:"0,1" default:"1"`
	Version        int    `help:"Version of the protocol: 4 is MQTT 3.1.1, 5 is MQTT 5." enum:"4,5" default:"5"`
	DurableSession bool   `help:"Mode publish: an offline session that lasts subscribes to # before. Other modes: the consumers have such sessions. They are deleted after the run."`
}

// Run measures and prints the result.
func (c *MQTTCommand) Run(ctx context.Context, out io.Writer) error {
	if err := c.Validate(); err != nil {
		return err
	}
	switch {
	case c.Mode == modeBacklog && (!c.DurableSession || c.QoS == 0):
		return errors.New("a backlog over MQTT needs --durable-session and --qos 1")
	case c.Mode == modeDrain:
		return errors.New("mode drain is for AMQP")
	}
	return c.run(ctx, out, "mqtt", c.Addr, &mqttDriver{
		options: c.Options, addr: c.Addr, topic: c.Topic,
		qos: byte(c.QoS), version: byte(c.Version), durable: c.DurableSession,
	})
}

// The limits of the options.
const (
	minSize    = 64
	maxSize    = 64 << 10
	maxClients = 1000
	maxWindow  = 60_000 // below the 65,535 packet ids of MQTT
)

// Validate checks the options and fills in what depends on others.
func (o *Options) Validate() error {
	switch {
	case o.Size < minSize || o.Size > maxSize:
		return fmt.Errorf("size %d is not between %d and %d", o.Size, minSize, maxSize)
	case o.Mode != modeDrain && o.Clients < 1 || o.Clients > maxClients:
		return fmt.Errorf("clients %d is not between 1 and %d", o.Clients, maxClients)
	case o.Consumers < 0 || o.Consumers > maxClients:
		return fmt.Errorf("consumers %d is not between 0 and %d", o.Consumers, maxClients)
	case o.Window < 1 || o.Window > maxWindow:
		return fmt.Errorf("window %d is not between 1 and %d", o.Window, maxWindow)
	case o.Duration <= 0:
		return errors.New("the duration must be positive")
	case o.Rate < 0:
		return errors.New("the rate must not be negative")
	case o.Mode == modeBacklog && o.Messages < uint64(o.Clients):
		return fmt.Errorf("messages %d are fewer than the %d publishers", o.Messages, o.Clients)
	case o.Settle < 0:
		return errors.New("the time to settle must not be negative")
	}
	switch {
	case o.Mode == modePublish:
		o.Consumers = 0
	case o.Mode == modeDrain:
		o.Clients, o.Consumers = 0, max(o.Consumers, 1)
	case o.Consumers == 0 && o.Mode == modeFanout:
		o.Consumers = 10
	case o.Consumers == 0:
		o.Consumers = 1
	}
	return nil
}

// The modes.
const (
	modePublish = "publish"
	modeE2E     = "e2e"
	modeFanout  = "fanout"
	modeBacklog = "backlog"
	modeDrain   = "drain"
)

// driver speaks one protocol for a run.
type driver interface {
	// setup makes the queues and sessions that the run needs, empty.
	setup(ctx context.Context) error
	// publisher connects publisher i, ready to publish.
	publisher(ctx context.Context, i int) (net.Conn, publishWire, error)
	// consumer connects consumer i, consuming.
	consumer(ctx context.Context, i int) (net.Conn, consumeWire, error)
	// competing tells that the consumers share one queue: together they get
	// every message once.
	competing() bool
	// cleanup removes what setup made.
	cleanup(ctx context.Context) error
}

// publishWire encodes one publisher's messages and decodes its confirms.
type publishWire interface {
	// window is how many messages may be unconfirmed; 0 means that the
	// messages are never confirmed.
	window() int
	// appendMessage appends message n (1, 2, 3, …) to buf.
	appendMessage(buf []byte, n uint64, payload []byte) []byte
	// confirms decodes the complete frames in buf, reports each confirmed
	// message to w, and returns how many bytes it used.
	confirms(buf []byte, w *window) (int, error)
}

// consumeWire decodes one consumer's deliveries and encodes its
// acknowledgements.
type consumeWire interface {
	// deliveries decodes the complete frames in buf, calls got for each
	// message, and returns how many bytes it used.
	deliveries(buf []byte, got func(payload []byte, flagged bool)) (int, error)
	// appendAcks appends the acknowledgement of all that was reported since
	// the last call.
	appendAcks(buf []byte) []byte
}

// dial connects to the broker.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	return conn, nil
}
