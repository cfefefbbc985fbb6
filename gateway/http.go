package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
)

// access is who may use a route.
type access uint8

const (
	// public needs no login.
	public access = iota + 1
	// monitoring needs the tag monitoring or administrator. A program on this
	// machine needs no login if the configuration says so.
	monitoring
	// member needs a login.
	member
	// administrator needs the tag administrator.
	administrator
)

// The tags of users that routes ask for.
const (
	tagAdministrator = "administrator"
	tagMonitoring    = "monitoring"
)

// route is one line of the table that all of the HTTP side is made of: there
// is no other way to a handler.
type route struct {
	pattern string
	access  access
	handler http.Handler
}

// routes is the table of the HTTP side.
func (s *Server) routes() []route {
	return []route{
		{"GET /healthz", public, http.HandlerFunc(s.healthz)},
		{"GET /readyz", public, http.HandlerFunc(s.readyz)},
		{"GET /metrics", monitoring, s.metrics.handler()},
		{"GET /debug/pprof/", administrator, http.HandlerFunc(pprof.Index)},
		{"GET /debug/pprof/cmdline", administrator, http.HandlerFunc(pprof.Cmdline)},
		{"GET /debug/pprof/profile", administrator, http.HandlerFunc(pprof.Profile)},
		{"GET /debug/pprof/symbol", administrator, http.HandlerFunc(pprof.Symbol)},
		{"POST /debug/pprof/symbol", administrator, http.HandlerFunc(pprof.Symbol)},
		{"GET /debug/pprof/trace", administrator, http.HandlerFunc(pprof.Trace)},
		{"/", member, http.NotFoundHandler()},
	}
}

// httpHandler returns the HTTP side with everything that stands before a route.
func (s *Server) httpHandler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.pattern, s.authorised(rt.access, rt.handler))
	}
	h := http.NewCrossOriginProtection().Handler(mux)
	return secured(http.MaxBytesHandler(h, maxBodyBytes))
}

// secured sets the headers that keep a browser from misusing an answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// authorised lets through who has the access.
func (s *Server) authorised(need access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if need == public || (need == monitoring && s.cfg.MetricsLoopback && fromLoopback(r)) {
			next.ServeHTTP(w, r)
			return
		}
		p, err := s.login(r)
		switch {
		case errors.Is(err, ErrRefused):
			w.Header().Set("WWW-Authenticate", `Basic realm="Tidegate", charset="UTF-8"`)
			http.Error(w, "login required", http.StatusUnauthorized)
		case err != nil:
			s.log.LogAttrs(r.Context(), slog.LevelDebug, "http login", slog.Any("error", err))
			http.Error(w, "login not possible now", http.StatusServiceUnavailable)
		case !need.granted(p):
			http.Error(w, "not permitted", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (a access) granted(p *Principal) bool {
	switch a {
	case monitoring:
		return p.HasTag(tagMonitoring, tagAdministrator)
	case member:
		return true
	case administrator:
		return p.HasTag(tagAdministrator)
	default:
		return false
	}
}

// login checks the basic authentication of a request.
func (s *Server) login(r *http.Request) (*Principal, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return nil, ErrRefused
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.HandshakeTimeout)
	defer cancel()
	return s.deps.Auth.Login(ctx, Login{
		User: user, Password: password, Loopback: fromLoopback(r), Remote: r.RemoteAddr,
	})
}

// healthz tells that the process lives.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") }

// readyz tells whether clients are served, and that storage has not failed.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.deps.Healthy(); err != nil {
		answer(w, http.StatusServiceUnavailable, "storage failed\n")
		return
	}
	if s.ready.Load() {
		answer(w, http.StatusOK, "ready\n")
		return
	}
	answer(w, http.StatusServiceUnavailable, "not ready\n")
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that is gone needs no answer
}
