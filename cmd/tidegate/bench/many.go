package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// ManyCommand is the command line "tidegate bench many": it makes a great
// number of one thing that rests, and tells how fast that went and what memory
// the broker holds for each.
type ManyCommand struct {
	What     string        `arg:"" help:"What to make: amqp-connections, amqp-queues (durable), mqtt-connections (clean sessions), mqtt-sessions (offline, with one subscription of their own each), mqtt-retained (topics)." enum:"amqp-connections,amqp-queues,mqtt-connections,mqtt-sessions,mqtt-retained"`
	Count    int           `help:"How many." default:"1000"`
	First    int           `help:"The number of the first, for another run beside what one with --keep left." default:"0"`
	Channels int           `help:"Channels of each AMQP connection, 1 to 2047." default:"10"`
	Workers  int           `help:"How many are made at the same time." default:"32"`
	AMQP     string        `name:"amqp" help:"Address of the broker for AMQP." default:"127.0.0.1:5672"`
	MQTT     string        `name:"mqtt" help:"Address of the broker for MQTT." default:"127.0.0.1:1883"`
	User     string        `help:"User name." default:"guest"`
	Password string        `help:"Password." default:"guest"`
	Hold     time.Duration `help:"How long all of them rest before memory is read." default:"5s"`
	Keep     bool          `help:"Leave queues, sessions and retained messages when done."`
	PID      int           `name:"pid" help:"Process of the broker on this machine: report its memory." default:"0"`
	JSON     bool          `name:"json" help:"Print the result as JSON."`
}

// maker makes and removes things over one connection, or one for each of them.
// Only one goroutine uses it.
type maker interface {
	// create makes number i.
	create(ctx context.Context, i int) error
	// remove takes number i away, which this maker created.
	remove(ctx context.Context, i int) error
	// close ends the connections that are left.
	close() error
}

// Run makes, waits, prints, and removes.
func (c *ManyCommand) Run(ctx context.Context, out io.Writer) error {
	if err := c.validate(); err != nil {
		return err
	}
	r := &ManyResult{What: c.What, Count: c.Count}
	err := c.measure(ctx, r)
	if err != nil {
		return err
	}
	return r.print(out, c.JSON)
}

func (c *ManyCommand) validate() error {
	switch {
	case c.Count < 1:
		return fmt.Errorf("count %d is not positive", c.Count)
	case c.Workers < 1 || c.Workers > maxClients:
		return fmt.Errorf("workers %d is not between 1 and %d", c.Workers, maxClients)
	case c.Channels < 1 || c.Channels > channelMax:
		return fmt.Errorf("channels %d is not between 1 and %d", c.Channels, channelMax)
	case c.Hold < 0:
		return errors.New("the time to hold must not be negative")
	}
	return nil
}

// measure fills in the result.
func (c *ManyCommand) measure(ctx context.Context, r *ManyResult) (err error) {
	if r.Before, err = c.memory(); err != nil {
		return err
	}
	makers := make([]maker, min(c.Workers, c.Count))
	defer func() {
		for _, m := range makers {
			if m != nil {
				err = errors.Join(err, m.close())
			}
		}
	}()
	for i := range makers {
		if makers[i], err = c.maker(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := c.each(ctx, makers, maker.create); err != nil {
		return err
	}
	r.Seconds = time.Since(began).Seconds()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(c.Hold):
	}
	if r.After, err = c.memory(); err != nil || c.Keep {
		return err
	}
	return c.each(ctx, makers, maker.remove)
}

// each does one thing to all numbers; a maker gets the same numbers each time.
func (c *ManyCommand) each(ctx context.Context, makers []maker, do func(maker, context.Context, int) error) error {
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for first, m := range makers {
		g.Go(func() error {
			for i := c.First + first; i < c.First+c.Count; i += len(makers) {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(m, ctx, i); err != nil {
					return fmt.Errorf("number %d, with %d done: %w", i, done.Load(), err)
				}
				done.Add(1)
			}
			return nil
		})
	}
	return g.Wait()
}

// memory is the resident set of the broker, 0 when its process is not known.
func (c *ManyCommand) memory() (uint64, error) {
	if c.PID == 0 {
		return 0, nil
	}
	return processMemory(c.PID)
}

// maker connects what makes the things that are asked for.
func (c *ManyCommand) maker(ctx context.Context) (maker, error) {
	amqp := &amqpDriver{options: Options{User: c.User, Password: c.Password}, addr: c.AMQP}
	mqtt := &mqttDriver{options: Options{User: c.User, Password: c.Password}, addr: c.MQTT, version: version5}
	switch c.What {
	case "amqp-connections":
		return &manyAMQPConnections{driver: amqp, channels: c.Channels}, nil
	case "amqp-queues":
		conn, err := amqp.connect(ctx)
		if err != nil {
			return nil, err
		}
		return &manyQueues{conn: conn}, nil
	case "mqtt-connections":
		return &manyMQTTConnections{driver: mqtt}, nil
	case "mqtt-sessions":
		return &manySessions{driver: mqtt}, nil
	default:
		conn, _, err := mqtt.connect(ctx, "", true)
		if err != nil {
			return nil, err
		}
		return &manyRetained{conn: conn}, nil
	}
}
