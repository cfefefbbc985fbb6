package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// lingerTime is how long a connection that the server ends stays open so that
// the last packets arrive.
const lingerTime = time.Second

// conn is one connection. The fields without another owner are set by the
// handshake and not changed later.
type conn struct {
	srv *Server
	nc  *gateway.Conn

	v5          bool
	problemInfo bool // reason strings may be sent in acknowledgements
	namespace   string
	clientID    string
	principal   *gateway.Principal
	expires     bool          // the session outlives the connection
	expiry      time.Duration // of the session; the reader's
	keepAlive   time.Duration // 0 is none

	session    *core.Session
	publisher  atomic.Pointer[core.Publisher] // nil until the first publish
	publishing sync.Mutex                     // held while publisher publishes
	shared     *shared
	subs       atomic.Pointer[subscriptions]
	readable   atomic.Uint64 // generation of permissions under which all of subs may be received, plus 1
	hold       atomic.Bool   // no deliveries are sent: a SUBACK is to come first
	out        *output
	flush      flusher
	ending     atomic.Pointer[ending]
	drain      atomic.Uint32 // a drainPhase; the last one begins under inMu
	drainTimer *time.Timer   // nil while the server does not stop; under inMu

	inMu   sync.Mutex
	inRoom sync.Cond // answers have left, or the connection ends
	in     *session.Inbound
	// answers is how many acknowledgements wait in in, for settled alone.
	answers atomic.Int64
	held    holding

	reader reader
	sender sender
}

// ending is why the server ends a connection.
type ending struct {
	reason wire.Reason
	detail string
}

// errGoodbye is the reader's end after a DISCONNECT of the client.
var errGoodbye = errors.New("client disconnected")

func newConn(s *Server, nc *gateway.Conn) *conn {
	c := &conn{srv: s, nc: nc}
	c.inRoom.L = &c.inMu
	c.out = newOutput(s.cfg.OutputLimit)
	c.flush.run = c.write
	c.reader.packets = wire.NewReader(nc, min(minPacketSize, s.limit))
	return c
}

// log is made when there is something to tell: most connections never need one.
func (c *conn) log() *slog.Logger { return c.srv.log.With(slog.String("conn", c.nc.ID)) }

// run serves the connection after its handshake.
func (c *conn) run(ctx context.Context) error {
	shut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(shut)
		c.startDrain()
	})
	c.flush.start() // CONNACK, and behind it what an earlier connection left
	err := c.read(ctx)
	fault := c.finish(err)
	if !stop() {
		<-shut
		c.stopDrain()
	}
	c.detach(ctx)
	return fault
}

// end makes the server end the connection: an MQTT 5 client is told why. The
// first reason counts. It does not block and may be called from any goroutine.
func (c *conn) end(reason wire.Reason, detail string) {
	if !c.ending.CompareAndSwap(nil, &ending{reason: reason, detail: detail}) {
		return
	}
	c.out.mu.Lock()
	if c.v5 && c.out.open && !c.out.closed {
		c.sayDisconnect(reason, detail)
	}
	c.out.closed = true
	c.out.room.Broadcast()
	c.out.mu.Unlock()
	c.inMu.Lock()
	c.inRoom.Broadcast()
	c.inMu.Unlock()
	deadline := time.Now().Add(lingerTime)
	c.tolerate(c.nc.SetWriteDeadline(deadline))
	c.tolerate(c.nc.SetReadDeadline(deadline))
	c.flush.wake()
}

// sayDisconnect appends a DISCONNECT, as much of it as the client takes.
// c.out.mu must be held.
func (c *conn) sayDisconnect(reason wire.Reason, detail string) {
	for _, detail := range []string{detail, ""} {
		have := c.out.len()
		// A buffer can't fail, and a DISCONNECT has no part that could.
		b, err := wire.AppendDisconnect(c.out.bytes(), reason, detail)
		if err == nil && c.out.fits(len(b)-have) {
			c.out.put(b)
			return
		}
	}
}

// finish ends the connection after the reader returned err, and waits until
// the writer has ended. It returns the error that is worth telling.
func (c *conn) finish(err error) error {
	fault, isFault := asFault(err)
	switch {
	case isFault:
		c.srv.counters.faults.Add(1)
		c.end(fault.Reason, fault.Detail)
	case errors.Is(err, errGoodbye), goneAway(err):
		c.silence()
	default:
		c.end(reasonsFor(err).disconnect, "")
	}
	if e := c.ending.Load(); e != nil && (isFault || !goneAway(err)) {
		c.linger()
	}
	c.flush.close()
	switch {
	case errors.Is(err, errGoodbye), c.ending.Load() != nil && goneAway(err):
		return nil
	default:
		return err
	}
}

// silence closes the output without a word: the client is gone.
func (c *conn) silence() {
	c.out.mu.Lock()
	c.out.closed = true
	c.out.room.Broadcast()
	c.out.mu.Unlock()
	c.tolerate(c.nc.SetWriteDeadline(time.Now()))
}

// linger takes what the client still sends until it closes, so that closing
// the socket does not destroy what is on its way to the client.
func (c *conn) linger() {
	c.tolerate(c.nc.SetReadDeadline(time.Now().Add(lingerTime)))
	var trash [512]byte
	for {
		if _, err := c.nc.Read(trash[:]); err != nil {
			return
		}
	}
}

// detach gives back what the connection held of the engine. With that the will is
// published, now or after its delay, unless it was dropped.
func (c *conn) detach(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	c.shared.leave(c)
	c.dropHeld()
	if p := c.publisher.Load(); p != nil {
		p.Close()
	}
	if err := c.session.Close(ctx); err != nil && !errors.Is(err, core.ErrFenced) && !errors.Is(err, core.ErrClosed) {
		c.log().Warn("close session", slog.String("client_id", c.clientID), slog.Any("error", err))
	}
}

// settled is called by the engine when publishes are settled, for those that
// wait for nothing from within Publish: then there is nothing to send yet.
func (c *conn) settled() {
	if c.answers.Load() > 0 {
		c.flush.wake()
	}
}

// kicked is called by the engine when another connection took the session.
func (c *conn) kicked() {
	c.srv.counters.takeovers.Add(1)
	c.end(wire.SessionTakenOver, "another connection with this client identifier")
}

// tolerate notes an error that changes nothing: the socket is closed already.
func (c *conn) tolerate(err error) {
	if err != nil && !goneAway(err) {
		c.log().Debug("set deadline", slog.Any("error", err))
	}
}

// recovered ends the connection after a panic in the writer.
func (c *conn) recovered(r any) {
	c.srv.counters.panics.Add(1)
	c.log().Error("panic in connection", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
	c.end(wire.UnspecifiedError, "")
}
