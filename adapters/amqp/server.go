package amqp

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/gateway"
)

// Server serves AMQP 0-9-1 connections. It is a [gateway.Protocol].
type Server struct {
	broker *core.Broker
	auth   *gateway.Authenticator
	cfg    Config
	log    *slog.Logger
	held   atomic.Int64 // bytes that connections hold back, see blockade
}

var _ gateway.Protocol = (*Server)(nil)

// New returns a server over the broker. The configuration must be valid.
func New(b *core.Broker, auth *gateway.Authenticator, cfg Config, log *slog.Logger) *Server {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Server{broker: b, auth: auth, cfg: cfg, log: log}
}

// Serve speaks AMQP on the connection until either side closes it. It returns
// nil when that happened in order. When ctx is done the client is told with a
// connection.close. What the connection held is released before Serve returns.
func (s *Server) Serve(ctx context.Context, conn *gateway.Conn) error {
	return newConnection(s, conn).serve(ctx)
}
