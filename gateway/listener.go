package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Pauses of an accept loop after an error, such as having no file descriptor left.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// listen opens the addresses of an endpoint.
func (s *Server) listen(ctx context.Context, e *endpoint) error {
	var skipped error
	for _, addr := range e.Addresses {
		var config net.ListenConfig
		l, err := config.Listen(ctx, network(addr), addr)
		if err != nil {
			err = fmt.Errorf("listen for %s: %w", e.Name, err)
			if !noIPv6(addr, err) {
				return err
			}
			s.log.Info("address left out: this host has no IPv6", slog.String("endpoint", e.Name),
				slog.String("address", addr))
			skipped = err
			continue
		}
		e.listeners = append(e.listeners, newListener(l, e.Name, s.conns, s.metrics, s.log))
	}
	if len(e.listeners) == 0 {
		return skipped
	}
	return nil
}

// network keeps a listener to the family of its literal address: 0.0.0.0 must
// not open the IPv6 addresses of the host too, nor [::] the others.
func network(addr string) string {
	literal, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return "tcp" // a name, or all addresses
	case literal.Addr().Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
}

// noIPv6 tells whether the address is ::1 and the error says that there is none.
func noIPv6(addr string, err error) bool {
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil || host != "::1" {
		return false
	}
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// listener accepts connections within the limits. Its Accept fails only when
// it was closed: after any other error it pauses and goes on.
type listener struct {
	net.Listener
	endpoint string
	conns    *registry
	metrics  *metrics
	log      *slog.Logger
	once     sync.Once
	closed   chan struct{}
}

func newListener(l net.Listener, endpoint string, conns *registry, m *metrics, log *slog.Logger) *listener {
	return &listener{
		Listener: l, endpoint: endpoint, conns: conns, metrics: m, log: log,
		closed: make(chan struct{}),
	}
}

// Close stops accepting. It is idempotent.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		if err = l.Listener.Close(); err != nil {
			err = fmt.Errorf("close listener of %s: %w", l.endpoint, err)
		}
	})
	return err
}

// Accept returns the next connection that the limits admit. Closing it makes
// room for another one.
func (l *listener) Accept() (net.Conn, error) {
	pause := time.Duration(0)
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
			if !l.goesOn(err, pause) {
				return nil, net.ErrClosed
			}
			continue
		}
		pause = 0
		from := remoteAddr(conn)
		if !l.conns.admit(from) {
			l.metrics.refused.WithLabelValues(l.endpoint).Inc()
			l.log.Debug("connection refused: limit reached", slog.String("endpoint", l.endpoint),
				slog.String("remote", conn.RemoteAddr().String()))
			reset(conn)
			continue
		}
		l.metrics.accepted.WithLabelValues(l.endpoint).Inc()
		l.metrics.open.WithLabelValues(l.endpoint).Inc()
		return &admitted{Conn: conn, listener: l, from: from}, nil
	}
}

// goesOn waits for the pause and tells whether to accept again.
func (l *listener) goesOn(err error, pause time.Duration) bool {
	select {
	case <-l.closed:
		return false
	default:
	}
	l.metrics.acceptErrors.WithLabelValues(l.endpoint).Inc()
	if pause == minAcceptPause || pause == maxAcceptPause {
		l.log.Error("accept", slog.String("endpoint", l.endpoint), slog.Any("error", err))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-l.closed:
		return false
	case <-timer.C:
		return true
	}
}

// reset closes a socket without leaving it in the kernel's TIME_WAIT.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // only saves memory of the kernel
	}
	_ = conn.Close() // nothing was sent on it
}

// admitted is a connection that counts against the limits until it is closed.
type admitted struct {
	net.Conn
	listener *listener
	from     netip.Addr
	once     sync.Once
}

// Close closes the socket and makes room for another connection.
func (c *admitted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.listener.conns.release(c.from)
		c.listener.metrics.open.WithLabelValues(c.listener.endpoint).Dec()
	})
	return err
}

// remoteAddr returns the peer's address, or the zero value if it has none.
func remoteAddr(conn net.Conn) netip.Addr {
	addr, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap().WithZone("")
}
