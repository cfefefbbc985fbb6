package mqtt

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// Server serves MQTT connections. It is safe for concurrent use.
type Server struct {
	broker   *core.Broker
	auth     *gateway.Authenticator
	cfg      Config
	log      *slog.Logger
	limit    int // largest packet taken
	now      func() time.Time
	counters counters
	sys      sys
	held     atomic.Int64 // bytes that connections hold, see holding
}

var _ gateway.Protocol = (*Server)(nil)

// New returns a server on the broker. cfg must be valid.
func New(b *core.Broker, auth *gateway.Authenticator, cfg Config, log *slog.Logger) *Server {
	s := &Server{broker: b, auth: auth, cfg: cfg, log: log, limit: cfg.packetLimit(b.MaxMessageSize()), sys: newSys(), now: time.Now}
	b.GuardWills(s.mayWill)
	return s
}

// Serve speaks MQTT on nc until the connection ends or ctx is done, see
// [gateway.Protocol]. The error tells why the connection ended; it is nil when
// the client said goodbye.
func (s *Server) Serve(ctx context.Context, nc *gateway.Conn) error {
	s.counters.connections.Add(1)
	defer s.counters.connections.Add(-1)
	c := newConn(s, nc)
	if err := c.handshake(ctx); err != nil {
		s.counters.refused.Add(1)
		return err
	}
	s.counters.connects.Add(1)
	return c.run(ctx)
}

// goneAway tells whether the error means just that the peer is gone or silent.
func goneAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// isTimeout tells whether a deadline has passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// asFault returns the peer's fault in err, if it is one.
func asFault(err error) (*wire.Error, bool) { return errors.AsType[*wire.Error](err) }
