package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	burst       = 64 << 10         // bytes a publisher writes at once, about
	drainTime   = 10 * time.Second // how long the last confirms and deliveries may take
	unconfirmed = 1 << 10          // messages per write where nothing is confirmed
	pace        = time.Millisecond // how often a publisher with a rate looks at the clock
)

// run measures one driver and prints the result. The options are valid.
func (o *Options) run(ctx context.Context, out io.Writer, protocol, addr string, d driver) error {
	if err := d.setup(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	measure := o.measure
	if o.Mode == modeBacklog {
		measure = o.measureBacklog
	}
	result, err := measure(ctx, d)
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := errors.Join(err, d.cleanup(cleanup)); err != nil {
		return err
	}
	result.Protocol, result.Addr = protocol, addr
	return result.print(out, o.JSON)
}

// bench is one measurement in progress.
type bench struct {
	options *Options
	driver  driver
	windows []*window
	sinks   []*sink
	group   *errgroup.Group
}

// sink is one consumer's account.
type sink struct {
	sequence *sequence
	windows  int    // of publishers; 0 when the run has none
	pacer    *pacer // nil for no limit
	latency  latencies
	received counter
}

// measure connects everybody, publishes for the duration, waits for what is
// still on its way, and adds up.
func (o *Options) measure(ctx context.Context, d driver) (*Result, error) {
	b := &bench{options: o, driver: d}
	living, stop := context.WithCancel(ctx)
	defer stop()
	b.group, living = errgroup.WithContext(living)

	publishers, err := b.connectPublishers(living)
	if err == nil {
		err = b.startConsumers(living)
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, b.group.Wait())
	}
	publishing, stopPublishing := context.WithTimeout(living, o.Duration)
	defer stopPublishing()
	before, err := b.snapshot()
	for _, p := range publishers {
		b.group.Go(func() error { return p.read(living) })
		b.group.Go(func() error { return p.write(publishing) })
	}
	after, err2 := b.endOf(publishing)
	b.drain(living)
	stop()
	if err := errors.Join(err, err2, b.group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	return b.result(before, after), nil
}

// connectPublishers opens the publishers' connections. They are closed when
// the measurement ends.
func (b *bench) connectPublishers(ctx context.Context) ([]*publisher, error) {
	var ps []*publisher
	for i := range b.options.Clients {
		conn, wire, err := b.driver.publisher(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("publisher %d: %w", i, err)
		}
		b.closeAtEnd(ctx, conn)
		p := &publisher{
			conn: conn, wire: wire, window: newWindow(cmp.Or(wire.window(), unconfirmed)), payloads: newPayloads(i, b.options.Size),
			rate: float64(b.options.Rate) / float64(b.options.Clients), burst: max(1, burst/b.options.Size),
			limit: b.options.limit(i),
		}
		ps = append(ps, p)
		b.windows = append(b.windows, p.window)
	}
	return ps, nil
}

// startConsumers opens the consumers' connections and reads them.
func (b *bench) startConsumers(ctx context.Context) error {
	for i := range b.options.Consumers {
		conn, wire, err := b.driver.consumer(ctx, i)
		if err != nil {
			return fmt.Errorf("consumer %d: %w", i, err)
		}
		b.closeAtEnd(ctx, conn)
		s := &sink{sequence: newSequence(b.windows), windows: len(b.windows), pacer: b.pacer()}
		b.sinks = append(b.sinks, s)
		b.group.Go(func() error { return s.consume(ctx, conn, wire) })
	}
	return nil
}

// closeAtEnd closes a connection when the measurement ends, which ends the
// goroutines that read and write it.
func (b *bench) closeAtEnd(ctx context.Context, conn net.Conn) {
	b.group.Go(func() error {
		<-ctx.Done()
		return conn.Close()
	})
}

// drain waits until every confirm and delivery has come, or too much time has
// passed, or nothing has come for a while.
func (b *bench) drain(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(drainTime)
	defer deadline.Stop()
	for !b.settled() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// settled tells that nothing is on its way any more.
func (b *bench) settled() bool {
	sent, confirmed := b.sent()
	if confirmed < sent {
		return false
	}
	received := uint64(0)
	for _, s := range b.sinks {
		received += s.received.load()
	}
	if len(b.sinks) > 0 && !b.driver.competing() {
		sent *= uint64(len(b.sinks))
	}
	return len(b.sinks) == 0 || received >= sent
}

// sent counts the messages that were sent, and those confirmed with all that
// were sent before them.
func (b *bench) sent() (sent, confirmed uint64) {
	for _, w := range b.windows {
		sent += w.sent.Load()
		confirmed += w.low.Load() - 1
	}
	return sent, confirmed
}
