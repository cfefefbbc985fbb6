package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

// acceptLoop serves each connection of a listener in a goroutine that wg waits
// for. It ends when the listener is closed.
func (s *Server) acceptLoop(ctx context.Context, e *endpoint, l *listener, wg *sync.WaitGroup) {
	for {
		socket, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { s.serveStream(ctx, e, socket) })
	}
}

// serveStream serves one accepted socket, with or without TLS, and closes it.
// Its frames and those below are small, and what comes before and after the
// protocol has frames of its own: this is the stack that an idle connection keeps.
func (s *Server) serveStream(ctx context.Context, e *endpoint, socket net.Conn) {
	if conn := s.enter(ctx, e, socket); conn != nil {
		s.serve(ctx, e, conn)
		s.conns.leave(conn)
	}
	_ = socket.Close() // protocols close first; then this says "already closed"
}

// enter takes a socket among those that are served, behind a TLS handshake where
// the endpoint wants one. It returns nil when it is not to be served.
func (s *Server) enter(ctx context.Context, e *endpoint, socket net.Conn) *Conn {
	conn := s.newConn(stream(socket), socket)
	if !s.conns.enter(conn) {
		return nil
	}
	if !e.TLS {
		return conn
	}
	secure := tls.Server(socket, s.tls)
	if err := s.handshake(ctx, secure); err != nil {
		s.log.Debug("tls handshake", slog.String("endpoint", e.Name),
			slog.String("remote", socket.RemoteAddr().String()), slog.Any("error", err))
		s.conns.leave(conn)
		return nil
	}
	conn.Conn = secure
	s.secured(conn, secure.ConnectionState())
	return conn
}

// stream returns the socket as protocols should see it: the bare TCP
// connection, which can write many buffers in one call.
func stream(socket net.Conn) net.Conn {
	if a, ok := socket.(*admitted); ok {
		return a.Conn
	}
	return socket
}

func (s *Server) newConn(conn, socket net.Conn) *Conn {
	return &Conn{
		Conn:     conn,
		ID:       strconv.FormatUint(s.lastID.Add(1), 10),
		Loopback: remoteAddr(socket).IsLoopback(),
		clients:  s.deps.Clients,
		traffic:  new(traffic),
		socket:   socket,

		DrainGrace: s.cfg.DrainGrace,
	}
}

// serve runs the protocol on the connection and closes it. A panic ends this
// connection alone.
func (s *Server) serve(ctx context.Context, e *endpoint, conn *Conn) {
	s.ended(ctx, e, conn, s.speak(ctx, e, conn))
	if s.deps.Clients != nil {
		s.deps.Clients.leave(conn)
	}
	_ = conn.Close() // its last words are said; the socket is closed below
}

// speak runs the protocol; its error is nil also after a panic, which is told
// of apart.
func (s *Server) speak(ctx context.Context, e *endpoint, conn *Conn) error {
	defer s.recovered(ctx, e, conn)
	return e.Protocol.Serve(ctx, conn)
}

// recovered is called as the protocol returns or panics.
func (s *Server) recovered(ctx context.Context, e *endpoint, conn *Conn) {
	if p := recover(); p != nil {
		s.metrics.panics.WithLabelValues(e.Name).Inc()
		s.log.LogAttrs(ctx, slog.LevelError, "connection panicked", slog.String("endpoint", e.Name),
			slog.String("remote", conn.RemoteAddr().String()), slog.Any("panic", p),
			slog.String("stack", string(debug.Stack())))
	}
}

// ended tells why a connection ended.
func (s *Server) ended(ctx context.Context, e *endpoint, conn *Conn, err error) {
	level := slog.LevelInfo
	if err == nil || ordinaryEnd(err) || ctx.Err() != nil {
		level = slog.LevelDebug
	}
	s.log.LogAttrs(ctx, level, "connection ended", slog.String("endpoint", e.Name),
		slog.String("remote", conn.RemoteAddr().String()), slog.Any("error", err))
}

// ordinaryEnd tells whether the error is what a client causes that goes away.
func ordinaryEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled)
}

// secured notes that the connection is encrypted, and who the client is by its
// certificate.
func (s *Server) secured(conn *Conn, state tls.ConnectionState) {
	conn.Secure = true
	conn.Identity, conn.Certified = s.cfg.TLS.certified(&state)
}

// handshake has both sides of a TLS connection agree.
func (s *Server) handshake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear deadline: %w", err)
	}
	return nil
}
