package amqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/gateway"
)

const (
	// loginFrame is the largest payload before login, when nobody is known yet.
	loginFrame = 32 << 10
	// loginPenalty is how long a client waits for the end of its connection
	// that broke the protocol before its login.
	loginPenalty = 3 * time.Second
	// goodbye bounds the answer to a connection.close at shutdown.
	goodbye = 2 * time.Second
	// releaseTimeout bounds the release of what a lost connection held.
	releaseTimeout = 10 * time.Second

	shutdownText = "broker forced connection closure with reason 'shutdown'"
)

// state is how far a connection has got.
type state uint8

const (
	starting state = iota // wants start-ok
	tuning                // wants tune-ok
	opening               // wants open
	running
	closing // connection.close was sent
)

func (s state) String() string {
	return [...]string{"starting", "tuning", "opening", "running", "closing"}[s]
}

// errClosed ends the reader after the client's connection.close.
var errClosed = errors.New("connection closed by client")

// connection is one client. All fields belong to the reader, the goroutine of
// serve, but for out and what says that it is guarded by out.mu.
type connection struct {
	srv    *Server
	conn   *gateway.Conn
	log    *slog.Logger
	reader *wire.Reader
	out    *output

	state     state
	deadline  time.Time // of the login
	principal *gateway.Principal
	namespace string
	client    capabilities
	limits    limits
	grants    grants
	mechanism string
	about     wire.Table // what the client said of itself

	channels    map[uint16]*channel // changed under out.mu alone
	look        time.Time           // when to look for deliveries that are not acknowledged, zero for never
	silence     time.Time           // until when the client may say nothing, zero for anew
	settlements settlements
	blocked     blockade
	withheld    atomic.Bool // a publish is held; for standing
	draining    atomic.Bool // the server stops, see drain
	// waitingReplies is the bytes of direct replies that wait to be written.
	waitingReplies atomic.Int64

	stop struct {
		sync.Mutex
		cause  error // why reading has to end, nil while it has not
		nudged bool  // the reader is to look at what it holds
	}
	nudges chan struct{} // capacity 1: wakes a reader that does not read
}

func newConnection(s *Server, conn *gateway.Conn) *connection {
	return &connection{
		srv:      s,
		conn:     conn,
		log:      s.log.With(slog.String("connection", conn.ID)),
		reader:   wire.NewReader(conn, loginFrame),
		out:      newOutput(conn, s.cfg.Clock),
		deadline: s.cfg.Clock.Now().Add(s.cfg.LoginTimeout),
		channels: map[uint16]*channel{},
		nudges:   make(chan struct{}, 1),
	}
}

// serve runs the connection to its end.
func (c *connection) serve(ctx context.Context) error {
	defer c.reader.Release()
	defer c.endBlockade()
	if err := c.greet(); err != nil {
		return err
	}
	var writer sync.WaitGroup
	writer.Go(func() { c.out.run(c.interrupt) })
	// What the client asks for is still done while the connection drains.
	working, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	drained := make(chan struct{})
	undrained := context.AfterFunc(ctx, func() {
		defer close(drained)
		c.drain(working)
		over()
	})

	c.out.reply(0, start(&c.srv.cfg, c.conn.Certified))
	err := c.read(working)
	if errors.Is(err, errClosed) || errors.Is(err, errShutdown) {
		c.limitWrites()
		c.awaitPublishes() // whoever knows of the close finds the messages
	}
	over()
	if !undrained() {
		<-drained
	}
	words := c.lastWords()
	c.endBlockade() // nothing nudges any more
	told := c.conclude(ctx, err)
	c.releaseAll(ctx)
	var last []byte
	switch {
	case told:
		c.awaitCloseOK(ctx)
	case errors.Is(err, errClosed):
		last = words
	}
	c.limitWrites()
	c.out.finish(last)
	writer.Wait()
	if errors.Is(err, errClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

// limitWrites gives what is still to be written a bounded time: the client may not
// read.
func (c *connection) limitWrites() {
	if err := c.conn.SetWriteDeadline(c.srv.cfg.Clock.Now().Add(goodbye)); err != nil {
		c.log.Debug("write deadline not set", slog.Any("error", err))
	}
}

// greet reads the protocol header.
func (c *connection) greet() error {
	for {
		if header, ok := c.reader.Take(len(wire.Protocol)); ok {
			if knownProtocol(header) {
				return nil
			}
			break
		}
		if b := c.reader.Buffered(); len(b) >= 4 && string(b[:4]) != "AMQP" {
			break
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	if err := c.conn.SetWriteDeadline(c.deadline); err != nil {
		return fmt.Errorf("refuse protocol: %w", err)
	}
	if _, err := io.WriteString(c.conn, wire.Protocol); err != nil {
		return fmt.Errorf("refuse protocol: %w", err)
	}
	return refuse(codeNotImplemented, "client does not speak AMQP 0-9-1")
}

// read takes frames until the connection has to end, and tells why.
func (c *connection) read(ctx context.Context) error {
	for {
		f, ok, err := c.reader.Next()
		if err != nil {
			return &replyError{code: codeFrameError, text: err.Error(), cause: err}
		}
		if !ok {
			if err := c.unblock(ctx); err != nil {
				return err
			}
			if err := c.checkAcks(ctx); err != nil {
				return err
			}
			c.endBurst()
			if c.draining.Load() && c.settledAll() {
				return errShutdown
			}
			if err := c.fill(); err != nil && !errors.Is(err, errNudged) {
				return err
			}
			continue
		}
		if err := c.frame(ctx, f); err != nil {
			return err
		}
	}
}

// endBurst does what waited for the end of the frames that came together.
func (c *connection) endBurst() {
	c.settle()
	c.out.ready.signal()
}

// fill reads from the socket, with the deadline of the login or of the heartbeat.
// errNudged tells that held frames are to be looked at first.
func (c *connection) fill() error {
	if c.overfull() {
		return c.pauseReading()
	}
	deadline, looks := c.readUntil()
	if err := c.arm(deadline); err != nil {
		return err
	}
	err := c.reader.Fill()
	if err == nil {
		c.silence = time.Time{}
		return nil
	}
	c.stop.Lock()
	defer c.stop.Unlock()
	if e := c.nudged(); e != nil {
		return e
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		if looks {
			return errNudged
		}
		if c.state != running {
			return fmt.Errorf("client did not log in within %v: %w", c.srv.cfg.LoginTimeout, err)
		}
		return fmt.Errorf("missed heartbeats of client, interval %v: %w", c.limits.heartbeat, err)
	}
	return err
}

// readUntil is when a read has to end; looks tells that it is no harm then, but
// time to look for deliveries that are not acknowledged.
func (c *connection) readUntil() (deadline time.Time, looks bool) {
	if c.state != running {
		return c.deadline, false
	}
	if c.limits.heartbeat > 0 && c.silence.IsZero() {
		c.silence = c.srv.cfg.Clock.Now().Add(2 * c.limits.heartbeat)
	}
	if !c.look.IsZero() && (c.silence.IsZero() || c.look.Before(c.silence)) {
		return c.look, true
	}
	return c.silence, false
}

// pauseReading waits while the connection must not be read. What the client says
// meanwhile, acknowledgements too, is heard only then: it gets time for that.
func (c *connection) pauseReading() error {
	err := c.awaitNudge()
	c.silence = time.Time{}
	if !c.look.IsZero() {
		c.look = c.srv.cfg.Clock.Now().Add(longestLook)
	}
	return err
}

// arm sets the read deadline unless reading has to end or was nudged.
func (c *connection) arm(deadline time.Time) error {
	c.stop.Lock()
	defer c.stop.Unlock()
	if err := c.nudged(); err != nil {
		return err
	}
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("read deadline: %w", err)
	}
	return nil
}

// interrupt makes the reader end with the cause. It may be called from any
// goroutine that does not hold the output's lock.
func (c *connection) interrupt(cause error) {
	if c.halt(cause) {
		c.out.stopWaiting()
	}
}

// halt is interrupt for who ends the waits for room himself, if it was the first.
func (c *connection) halt(cause error) bool {
	c.stop.Lock()
	defer c.stop.Unlock()
	if c.stop.cause != nil {
		return false
	}
	c.stop.cause = cause
	c.wakeReader()
	return true
}

// conclude says goodbye as the reader's error asks for, and tells whether it
// did, so that the client owes an answer.
func (c *connection) conclude(ctx context.Context, err error) bool {
	reply, ok := errors.AsType[*replyError](err)
	switch {
	case ctx.Err() != nil && c.principal != nil:
		reply = refuse(codeConnectionForced, shutdownText)
	case !ok:
		return false // closed by the client, or the socket is gone or silent
	case c.principal != nil:
	case reply.code != codeAccessRefused:
		c.pause(ctx, loginPenalty)
		return false
	case !c.client.failureClose:
		return false
	}
	c.log.Info("closing connection", slog.String("error", reply.Error()))
	c.state = closing
	c.out.release(&wire.ConnectionClose{
		ReplyCode:     reply.code,
		ReplyText:     reply.replyText(),
		FailingMethod: reply.method,
	})
	return true
}

// awaitCloseOK drops what the client still sends until it answers the close.
func (c *connection) awaitCloseOK(ctx context.Context) {
	patience := c.srv.cfg.CloseTimeout
	if ctx.Err() != nil || c.principal == nil {
		patience = goodbye
	}
	if err := c.conn.SetReadDeadline(c.srv.cfg.Clock.Now().Add(patience)); err != nil {
		return
	}
	for {
		f, ok, err := c.reader.Next()
		if err != nil {
			return
		}
		if !ok {
			if err := c.reader.Fill(); err != nil {
				return
			}
			continue
		}
		if f.Type != wire.FrameMethod || f.Channel != 0 {
			continue
		}
		id, _, err := wire.SplitMethod(f.Payload)
		if err == nil && (id == wire.IDConnectionCloseOK || id == wire.IDConnectionClose) {
			return
		}
	}
}

func (c *connection) pause(ctx context.Context, d time.Duration) {
	t := c.srv.cfg.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// releaseAll gives everything back that the connection held: channels with
// their consumers and unacknowledged deliveries, then exclusive queues.
func (c *connection) releaseAll(ctx context.Context) {
	if c.principal == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	c.settle()
	for id, ch := range c.channels {
		ch.release(ctx)
		c.dropChannel(id)
	}
	if err := c.srv.broker.ReleaseOwner(ctx, c.conn.ID); err != nil {
		c.log.Error("exclusive queues not released", slog.Any("error", err))
	}
}
