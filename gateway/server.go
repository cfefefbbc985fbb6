package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegate/tidegate/core"
)

// Kind is what an endpoint does with a connection.
type Kind uint8

// The kinds of endpoints.
const (
	// Stream hands the byte stream to the protocol.
	Stream Kind = iota + 1
	// WebSocket hands the binary messages' bytes to the protocol.
	WebSocket
	// HTTP serves health, metrics and the rest of the HTTP side.
	HTTP
)

// Endpoint is a set of addresses on which one thing is served.
type Endpoint struct {
	// Name is the endpoint's label in logs and metrics.
	Name string
	Kind Kind
	// TLS puts the configured certificate before everything else.
	TLS bool
	// Addresses are host:port pairs; port 0 takes a free one. 0.0.0.0 means all
	// IPv4 addresses, [::] all IPv6 addresses, no host both. An address on ::1
	// is left out on a host without IPv6 if another one can be had.
	Addresses []string
	// Protocol serves the connections; nil for HTTP.
	Protocol Protocol
	// Path and Subprotocol are those of a WebSocket endpoint; both must match.
	Path, Subprotocol string
}

// Deps are what the front door stands before.
type Deps struct {
	Auth *Authenticator
	// Clients is where the protocols announce who has logged in; nil keeps no list.
	Clients *Clients
	// Node is the broker's name in refusals.
	Node string
	// Routes are those of the HTTP side beside health, metrics and profiles.
	Routes []Route
	// Stats returns the engine's counters for the metrics.
	Stats func() core.Stats
	// Healthy returns why the engine can't serve, or nil.
	Healthy func() error
	// Collectors are further metrics, of the protocols.
	Collectors []prometheus.Collector
	Log        *slog.Logger
}

// Server is the front door of one process: first Listen, then Run.
type Server struct {
	cfg       Config
	deps      Deps
	log       *slog.Logger
	tls       *tls.Config // nil without a certificate
	endpoints []*endpoint
	conns     *registry
	metrics   *metrics
	ready     atomic.Bool
	lastID    atomic.Uint64
}

// endpoint is an Endpoint with its open listeners.
type endpoint struct {
	Endpoint
	listeners []*listener
}

// New returns a server for the endpoints. It reads the certificate files.
func New(cfg Config, endpoints []Endpoint, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	s := &Server{
		cfg:   cfg,
		deps:  deps,
		log:   deps.Log,
		conns: newRegistry(cfg.MaxConnections+refusalRoom, cfg.MaxConnectionsPerAddress),
	}
	if deps.Clients != nil {
		deps.Clients.bound(deps.Node, cfg)
	}
	s.metrics = newMetrics(deps)
	if cfg.TLS.Enabled() {
		var err error
		if s.tls, err = loadTLS(cfg.TLS); err != nil {
			return nil, err
		}
	}
	for _, e := range endpoints {
		if e.TLS && s.tls == nil {
			return nil, fmt.Errorf("endpoint %s needs a certificate", e.Name)
		}
		s.endpoints = append(s.endpoints, &endpoint{Endpoint: e})
	}
	return s, nil
}

// Listen opens all addresses. From then on clients may connect; they are
// served when Run runs. Whoever does not call Run calls Close.
func (s *Server) Listen(ctx context.Context) error {
	for _, e := range s.endpoints {
		if err := s.listen(ctx, e); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return nil
}

// Addresses returns the real addresses of an endpoint, in the order in which
// they were configured.
func (s *Server) Addresses(name string) []net.Addr {
	var addrs []net.Addr
	for _, e := range s.endpoints {
		if e.Name != name {
			continue
		}
		for _, l := range e.listeners {
			addrs = append(addrs, l.Addr())
		}
	}
	return addrs
}

// Run serves until ctx is done. Then it is not ready any more, stops accepting after the
// drain delay, asks the connections to end, waits for them no longer than the drain
// timeout, and closes what is left. It returns an error if even then a connection did not
// end.
func (s *Server) Run(ctx context.Context) error {
	// The connections live longer than ctx: closing them is the second step.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var loops, side sync.WaitGroup
	var webServers, sideServers []*webServer
	for _, e := range s.endpoints {
		switch e.Kind {
		case Stream:
			for _, l := range e.listeners {
				loops.Go(func() { s.acceptLoop(serving, e, l, &loops) })
			}
		case WebSocket:
			webServers = append(webServers, s.startWeb(serving, e, s.webSocketHandler(serving, e), &loops))
		case HTTP:
			sideServers = append(sideServers, s.startWeb(serving, e, s.httpHandler(), &side))
		}
	}
	s.ready.Store(true)
	<-ctx.Done()
	s.ready.Store(false)
	delay := time.NewTimer(s.cfg.DrainDelay)
	<-delay.C // all goes on as before

	deadline := time.NewTimer(s.cfg.DrainTimeout)
	defer deadline.Stop()
	err := s.closeListeners(Stream, WebSocket)
	stop()
	err = errors.Join(err, s.drain(deadline.C))
	err = errors.Join(err, s.stopWeb(ctx, webServers), s.stopWeb(ctx, sideServers), s.Close())
	if s.conns.count() == 0 { // else the loops hold connections that do not end
		loops.Wait()
		side.Wait()
	}
	return err
}

// drain waits for the connections to end, and closes those that are still
// there when the deadline fires.
func (s *Server) drain(deadline <-chan time.Time) error {
	idle := s.conns.close()
	select {
	case <-idle:
		return nil
	case <-deadline:
	}
	left := s.conns.abort()
	s.log.Warn("closed connections that did not end in time", slog.Int("connections", left))
	last := time.NewTimer(abortTimeout)
	defer last.Stop()
	select {
	case <-idle:
		return nil
	case <-last.C:
		return fmt.Errorf("%d connections did not end after their sockets were closed", s.conns.count())
	}
}

// abortTimeout is how long a connection may take to notice that its socket is closed.
const abortTimeout = 2 * time.Second

// Close closes the listeners. It is needed only when Run is not called.
func (s *Server) Close() error { return s.closeListeners(Stream, WebSocket, HTTP) }

func (s *Server) closeListeners(kinds ...Kind) error {
	var errs []error
	for _, e := range s.endpoints {
		for _, kind := range kinds {
			if e.Kind != kind {
				continue
			}
			for _, l := range e.listeners {
				errs = append(errs, l.Close())
			}
		}
	}
	return errors.Join(errs...)
}
