package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// readBuffer bounds a frame; messages are at most maxSize bytes.
const readBuffer = 256 << 10

// counter is a number that one goroutine raises and others read.
type counter struct{ n atomic.Uint64 }

func (c *counter) add(n uint64) { c.n.Add(n) }
func (c *counter) load() uint64 { return c.n.Load() }

// publisher publishes over one connection.
type publisher struct {
	conn     net.Conn
	wire     publishWire
	window   *window
	payloads *payloads
	rate     float64 // messages per second, 0 for no limit
	burst    int     // messages encoded before a write
	limit    uint64  // messages to publish, 0 for no limit
}

// write publishes until ctx is done, or as many messages as it shall.
func (p *publisher) write(ctx context.Context) error {
	start := time.Now()
	buf := make([]byte, 0, 2*burst)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		if p.limit > 0 && p.window.sent.Load() == p.limit {
			return nil
		}
		n := p.allowed(start)
		if n <= 0 {
			p.wait(ctx, tick)
			continue
		}
		first := p.window.sent.Load() + 1
		now := time.Now().UnixNano()
		buf = buf[:0]
		for i := range uint64(n) {
			buf = p.wire.appendMessage(buf, first+i, p.payloads.stamped(first+i, now))
		}
		p.window.send(first+uint64(n)-1, now)
		if _, err := p.conn.Write(buf); err != nil {
			return ended(ctx, fmt.Errorf("publish: %w", err))
		}
		if p.wire.window() == 0 {
			p.window.low.Store(first + uint64(n))
			p.window.confirmed.Add(uint64(n))
		}
	}
	return nil
}

// allowed returns how many messages may be sent at once now. Without a rate it
// waits for a quarter of the window: a publisher that answers every confirm
// with one message spends its time in system calls.
func (p *publisher) allowed(start time.Time) int {
	n := min(p.burst, int(p.window.size))
	if p.wire.window() > 0 {
		free := p.window.free()
		if p.rate == 0 && free < min(n, int(p.window.size/4)) {
			return 0
		}
		n = min(n, free)
	}
	if p.rate > 0 {
		due := int(p.rate*time.Since(start).Seconds()) - int(p.window.sent.Load())
		n = min(n, due)
	}
	if p.limit > 0 {
		n = int(min(uint64(max(n, 0)), p.limit-p.window.sent.Load()))
	}
	return n
}

// wait returns when a message may be due or there may be room.
func (p *publisher) wait(ctx context.Context, tick *time.Ticker) {
	paced := tick.C
	if p.rate == 0 {
		paced = nil
	}
	select {
	case <-p.window.room:
	case <-paced:
	case <-ctx.Done():
	}
}

// read takes confirms until the connection is closed.
func (p *publisher) read(ctx context.Context) error {
	err := readFrames(p.conn, func(buf []byte) (int, error) {
		p.window.begin(time.Now().UnixNano())
		used, err := p.wire.confirms(buf, p.window)
		p.window.advance()
		return used, err
	})
	return ended(ctx, err)
}

// consume takes and acknowledges deliveries until the connection is closed.
func (s *sink) consume(ctx context.Context, conn net.Conn, wire consumeWire) error {
	var acks []byte
	err := readFrames(conn, func(buf []byte) (int, error) {
		s.pacer.wait(ctx)
		now := time.Now().UnixNano()
		before := s.sequence.received
		used, err := wire.deliveries(buf, func(payload []byte, flagged bool) {
			if s.windows == 0 { // of an earlier run
				s.sequence.old(flagged)
				return
			}
			st, ok := readStamp(payload)
			if !ok {
				s.sequence.received++
				s.sequence.invented++
				return
			}
			s.sequence.note(st, flagged)
			s.latency.add(now - st.at)
		})
		if err != nil {
			return used, err
		}
		s.received.add(s.sequence.received - before)
		s.pacer.took(s.sequence.received - before)
		if acks = wire.appendAcks(acks[:0]); len(acks) > 0 {
			if _, err := conn.Write(acks); err != nil {
				return used, fmt.Errorf("acknowledge: %w", err)
			}
		}
		return used, nil
	})
	return ended(ctx, err)
}

// readFrames reads bursts and hands each to decode, which uses the complete
// frames and leaves the rest for the next burst.
func readFrames(conn net.Conn, decode func(buf []byte) (int, error)) error {
	buf := make([]byte, readBuffer)
	have := 0
	for {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		have += n
		used, err := decode(buf[:have])
		if err != nil {
			return err
		}
		have = copy(buf, buf[used:have])
		if have == len(buf) {
			return errors.New("the broker sent a frame that is larger than any message of this run")
		}
	}
}

// ended drops the error of a connection that was closed because the
// measurement is over.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF)) {
		return nil
	}
	return err
}
