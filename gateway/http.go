package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
)

// routes is the table of the HTTP side.
func (s *Server) routes() []Route {
	return append([]Route{
		{"GET /healthz", Public, http.HandlerFunc(s.healthz), 0},
		{"GET /readyz", Public, http.HandlerFunc(s.readyz), 0},
		{"GET /metrics", Metrics, s.metrics.handler(), 0},
		{"GET /debug/pprof/", Administrator, http.HandlerFunc(pprof.Index), 0},
		{"GET /debug/pprof/cmdline", Administrator, http.HandlerFunc(pprof.Cmdline), 0},
		{"GET /debug/pprof/profile", Administrator, http.HandlerFunc(pprof.Profile), 0},
		{"GET /debug/pprof/symbol", Administrator, http.HandlerFunc(pprof.Symbol), 0},
		{"POST /debug/pprof/symbol", Administrator, http.HandlerFunc(pprof.Symbol), 0},
		{"GET /debug/pprof/trace", Administrator, http.HandlerFunc(pprof.Trace), 0},
		{"/", Member, http.NotFoundHandler(), 0},
	}, s.deps.Routes...)
}

// httpHandler returns the HTTP side with everything that stands before a route.
func (s *Server) httpHandler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		limit := cmp.Or(rt.MaxBody, maxBodyBytes)
		mux.Handle(rt.Pattern, http.MaxBytesHandler(s.authorised(rt.Access, rt.Handler), limit))
	}
	return secured(http.NewCrossOriginProtection().Handler(apiPaths(mux)))
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
func (s *Server) authorised(need Access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if need == Public || (need == Metrics && s.cfg.MetricsLoopback && fromLoopback(r)) {
			next.ServeHTTP(w, r)
			return
		}
		p, err := s.login(r)
		switch {
		case errors.Is(err, ErrRefused):
			w.Header().Set("WWW-Authenticate", `Basic realm="Tidegate", charset="UTF-8"`)
			deny(w, r, http.StatusUnauthorized, "not_authorised", "Login failed")
		case err != nil:
			s.log.LogAttrs(r.Context(), slog.LevelDebug, "http login", slog.Any("error", err))
			deny(w, r, http.StatusServiceUnavailable, "unavailable", "login not possible now")
		case !need.granted(p):
			status := http.StatusForbidden
			if isAPI(r) {
				status = http.StatusUnauthorized // programs for RabbitMQ's API expect it so
			}
			deny(w, r, status, "not_authorised", "Not "+need.String()+" user")
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requesterKey{}, p)))
		}
	})
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
