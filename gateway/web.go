package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of HTTP requests.
const (
	maxHeaderBytes   = 16 << 10
	maxBodyBytes     = 1 << 20
	bodyTimeout      = 30 * time.Second
	answerTimeout    = 30 * time.Second
	keepAliveTimeout = 2 * time.Minute
)

// webServer is the HTTP server of one endpoint.
type webServer struct {
	http.Server
	name string
}

// startWeb serves HTTP on the endpoint's listeners until stopWeb; wg waits for
// the accept loops.
func (s *Server) startWeb(ctx context.Context, e *endpoint, h http.Handler, wg *sync.WaitGroup) *webServer {
	srv := &webServer{name: e.Name, Server: http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.cfg.HandshakeTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       keepAliveTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, socketKey{}, c)
		},
	}}
	for _, l := range e.listeners {
		var accept net.Listener = l
		if e.TLS {
			accept = tls.NewListener(l, s.tls)
		}
		wg.Go(func() {
			err := srv.Serve(accept)
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.log.LogAttrs(ctx, slog.LevelError, "http server ended", slog.String("endpoint", e.Name),
					slog.Any("error", err))
			}
		})
	}
	return srv
}

// stopWeb lets the requests end, within the drain timeout, and closes the servers.
func (s *Server) stopWeb(ctx context.Context, servers []*webServer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	var errs []error
	for _, srv := range servers {
		err := srv.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			s.log.Warn("closed requests that did not end in time", slog.String("endpoint", srv.name))
			err = srv.Close()
		}
		if err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("stop %s: %w", srv.name, err))
		}
	}
	return errors.Join(errs...)
}

// fromLoopback tells whether a program on this machine sent the request and
// meant this machine. A request that a proxy passed on, or that names another
// host (as a web page's would whose name was rebound to 127.0.0.1), is not
// trusted as local.
func fromLoopback(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(trimBrackets(host))
	return err == nil && addr.Unmap().IsLoopback()
}

func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}
