package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// closeTimeout bounds the closing handshake with a WebSocket client.
const closeTimeout = time.Second

// socketKey is the key of a request's net.Conn in its context.
type socketKey struct{}

// webSocketHandler upgrades requests for the endpoint's path and hands them to
// its protocol. ctx is the protocol's: that of a request ends with the upgrade.
func (s *Server) webSocketHandler(ctx context.Context, e *endpoint) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+e.Path, func(w http.ResponseWriter, r *http.Request) {
		s.serveWebSocket(ctx, e, w, r)
	})
	return mux
}

// serveWebSocket upgrades one request and serves it. ctx is the protocol's.
func (s *Server) serveWebSocket(ctx context.Context, e *endpoint, w http.ResponseWriter, r *http.Request) {
	if !offers(r, e.Subprotocol) {
		http.Error(w, "the WebSocket subprotocol "+e.Subprotocol+" is required", http.StatusBadRequest)
		return
	}
	socket, ok := r.Context().Value(socketKey{}).(net.Conn)
	if !ok {
		http.Error(w, "no socket", http.StatusInternalServerError)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:    []string{e.Subprotocol},
		OriginPatterns:  s.cfg.WebSocketOrigins,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil { // the client has its answer
		s.log.LogAttrs(ctx, slog.LevelDebug, "websocket refused", slog.String("endpoint", e.Name),
			slog.String("remote", r.RemoteAddr), slog.Any("error", err))
		return
	}
	ws.SetReadLimit(-1) // the protocol bounds what it reads; messages are streamed
	conn := s.newConn(&messageConn{ws: ws, socket: socket}, socket)
	conn.Loopback = fromLoopback(r)
	if r.TLS != nil {
		s.secured(conn, *r.TLS)
	}
	if !s.conns.enter(conn) {
		_ = ws.CloseNow() // stopping: nothing was promised yet
		return
	}
	defer s.conns.leave(conn)
	s.serve(ctx, e, conn)
}

// offers tells whether the client speaks the subprotocol.
func offers(r *http.Request, subprotocol string) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		if slices.ContainsFunc(strings.Split(line, ","), func(p string) bool {
			return strings.TrimSpace(p) == subprotocol
		}) {
			return true
		}
	}
	return false
}

// messageConn is the byte stream made of the binary messages of a WebSocket.
// Deadlines are those of the socket, so that a read that timed out leaves the
// connection open for a goodbye. One goroutine may read while others write.
type messageConn struct {
	ws     *websocket.Conn
	socket net.Conn

	message io.Reader // the message being read; the reader's alone
	once    sync.Once
}

// Read returns bytes of the present message, or of the next one.
func (c *messageConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, message, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, endOfStream(err)
			}
			if kind != websocket.MessageBinary {
				err := errors.New("websocket: a message is not binary")
				_ = c.ws.Close(websocket.StatusUnsupportedData, "binary messages only") // the error is told already
				return 0, err
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if errors.Is(err, io.EOF) {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// endOfStream turns an orderly close into io.EOF.
func endOfStream(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return io.EOF
	default:
		return fmt.Errorf("websocket: %w", err)
	}
}

// Write sends p as one message.
func (c *messageConn) Write(p []byte) (int, error) {
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, fmt.Errorf("websocket: %w", err)
	}
	return len(p), nil
}

// Close says goodbye, for no longer than closeTimeout, and closes the socket.
func (c *messageConn) Close() (err error) {
	c.once.Do(func() {
		_ = c.socket.SetDeadline(time.Now().Add(closeTimeout)) // fails only on a closed socket
		_ = c.ws.Close(websocket.StatusNormalClosure, "")      // the peer may be gone already
		err = c.ws.CloseNow()
		if errors.Is(err, net.ErrClosed) {
			err = nil
		}
	})
	return err
}

func (c *messageConn) LocalAddr() net.Addr                { return c.socket.LocalAddr() }
func (c *messageConn) RemoteAddr() net.Addr               { return c.socket.RemoteAddr() }
func (c *messageConn) SetDeadline(t time.Time) error      { return c.socket.SetDeadline(t) }
func (c *messageConn) SetReadDeadline(t time.Time) error  { return c.socket.SetReadDeadline(t) }
func (c *messageConn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }
