package gateway_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/gateway"
)

func httpEndpoint() gateway.Endpoint { return gateway.Endpoint{Name: "http", Kind: gateway.HTTP} }

// request is one request to the HTTP side.
type request struct {
	method, path, user string // the password is the user's name
	header             http.Header
	host               string
}

// reply is what the HTTP side says to a request.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r request) do(t *testing.T, addr string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+addr+r.path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, r.header)
	if r.host != "" {
		req.Host = r.host
	}
	if r.user != "" {
		req.SetBasicAuth(r.user, r.user)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func TestHealth(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), newAuth(newCatalog(t)), httpEndpoint())
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		got := request{method: http.MethodGet, path: path}.do(t, s.address(t, "http"))
		if got.status != http.StatusOK || got.body != want {
			t.Errorf("%s: got %d %q, want 200 %q", path, got.status, got.body, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), newAuth(newCatalog(t)), httpEndpoint())
	body := request{method: http.MethodGet, path: "/metrics"}.do(t, s.address(t, "http")).body
	for _, want := range []string{
		`tidegate_gateway_connections{endpoint="http"} 1`,
		`tidegate_gateway_connections_accepted_total{endpoint="http"} 1`,
		`tidegate_gateway_logins_total{result="refused"} 0`,
		"tidegate_broker_published_messages_total 7",
		"tidegate_broker_delivered_messages_total 0",
		"tidegate_broker_settled_messages_total 0",
		"tidegate_log_batches_total 0",
		"tidegate_log_size_bytes 0",
		"tidegate_log_commit_duration_seconds_count 0",
		"tidegate_broker_streams 0",
		"go_goroutines ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
}

func TestMetricsAccess(t *testing.T) {
	cfg := gateway.DefaultConfig()
	auth := newAuth(newCatalog(t))
	open := run(t, cfg, auth, httpEndpoint())
	cfg.MetricsLoopback = false
	closed := run(t, cfg, auth, httpEndpoint())
	proxied := http.Header{"X-Forwarded-For": {"203.0.113.9"}}
	for _, tc := range []struct {
		name   string
		server *running
		req    request
		want   int
	}{
		{"from this machine", open, request{}, 200},
		{"through a proxy", open, request{header: proxied}, 401},
		{"through a proxy, monitoring", open, request{header: proxied, user: "watch"}, 200},
		{"guest through a proxy", open, request{header: proxied, user: "guest"}, 401},
		{"by a rebound name", open, request{host: "evil.example.com"}, 401},
		{"by localhost", open, request{host: "localhost:15672"}, 200},
		{"switched off", closed, request{}, 401},
		{"switched off, device", closed, request{user: "device"}, 403},
		{"switched off, monitoring", closed, request{user: "watch"}, 200},
		{"switched off, administrator", closed, request{user: "boss"}, 200},
	} {
		tc.req.method, tc.req.path = http.MethodGet, "/metrics"
		got := tc.req.do(t, tc.server.address(t, "http"))
		if got.status != tc.want {
			t.Errorf("%s: got status %d, want %d", tc.name, got.status, tc.want)
		}
	}
}

// TestRoutes walks the table of routes: each lets in exactly who it says.
func TestRoutes(t *testing.T) {
	cfg := gateway.DefaultConfig()
	cfg.MetricsLoopback = false
	s := run(t, cfg, newAuth(newCatalog(t)), httpEndpoint())
	everybody := []string{"", "device", "watch", "boss", "guest"}
	allowed := map[gateway.Access][]string{
		gateway.Public:        everybody,
		gateway.Metrics:       {"watch", "boss", "guest"},
		gateway.Member:        {"device", "watch", "boss", "guest"},
		gateway.Administrator: {"boss", "guest"},
	}
	want := map[string]gateway.Access{
		"GET /healthz": gateway.Public, "GET /readyz": gateway.Public, "GET /metrics": gateway.Metrics,
		"GET /debug/pprof/": gateway.Administrator, "GET /debug/pprof/cmdline": gateway.Administrator,
		"GET /debug/pprof/profile": gateway.Administrator, "GET /debug/pprof/symbol": gateway.Administrator,
		"POST /debug/pprof/symbol": gateway.Administrator, "GET /debug/pprof/trace": gateway.Administrator,
		"/": gateway.Member,
	}
	routes := s.RoutesForTest()
	if len(routes) != len(want) {
		t.Errorf("there are %d routes, want %d", len(routes), len(want))
	}
	for _, rt := range routes {
		if want[rt.Pattern] != rt.Access {
			t.Errorf("%s is for %v users, want %v", rt.Pattern, rt.Access, want[rt.Pattern])
			continue
		}
		method, path, ok := strings.Cut(rt.Pattern, " ")
		if !ok {
			method, path = http.MethodGet, rt.Pattern+"no/such/thing"
		}
		if strings.HasSuffix(path, "/profile") || strings.HasSuffix(path, "/trace") {
			path += "?seconds=1"
		}
		for _, user := range everybody {
			got := request{method: method, path: path, user: user}.do(t, s.address(t, "http"))
			if err := expect(got, rt.Access, user, allowed[rt.Access]); err != nil {
				t.Errorf("%s as %q: %v", rt.Pattern, user, err)
			}
		}
	}
}

func expect(got reply, access gateway.Access, user string, allowed []string) error {
	in := false
	for _, a := range allowed {
		in = in || a == user
	}
	switch {
	case in && (got.status == http.StatusUnauthorized || got.status == http.StatusForbidden):
		return fmt.Errorf("refused with %d, though it is for %v users", got.status, access)
	case !in && user == "" && (got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == ""):
		return fmt.Errorf("got %d, want 401 with a challenge", got.status)
	case !in && user != "" && got.status != http.StatusForbidden:
		return fmt.Errorf("got %d, want 403", got.status)
	}
	for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
		if got.header.Get(h) == "" {
			return fmt.Errorf("header %s is missing", h)
		}
	}
	return nil
}

func TestCrossOriginWriteRefused(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), newAuth(newCatalog(t)), httpEndpoint())
	got := request{
		method: http.MethodPost, path: "/debug/pprof/symbol", user: "boss",
		header: http.Header{"Origin": {"https://evil.example.com"}},
	}.do(t, s.address(t, "http"))
	if got.status != http.StatusForbidden {
		t.Errorf("a write from another origin: got %d, want 403", got.status)
	}
}

func TestNotReadyWhileDraining(t *testing.T) {
	inside := make(chan struct{})
	s := run(t, gateway.DefaultConfig(), newAuth(newCatalog(t)), httpEndpoint(), stream("slow", hold(inside)))
	conn := dial(t, s.address(t, "slow"))
	<-inside
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // told of the shutdown
		t.Fatal(err)
	}
	got := request{method: http.MethodGet, path: "/readyz"}.do(t, s.address(t, "http"))
	if got.status != http.StatusServiceUnavailable {
		t.Errorf("ready while draining: got %d, want 503", got.status)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("run: %v", err)
	}
}
