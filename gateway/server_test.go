package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serveFunc is a protocol for tests.
type serveFunc func(ctx context.Context, conn *gateway.Conn) error

func (f serveFunc) Serve(ctx context.Context, conn *gateway.Conn) error { return f(ctx, conn) }

// echo answers each line with itself, until ctx is done: then it says bye.
func echo(ctx context.Context, conn *gateway.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if ctx.Err() != nil {
			_, err := io.WriteString(conn, "bye\n")
			return err
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return err
		}
	}
}

// running is a server that runs until the test ends or stop is called.
type running struct {
	*gateway.Server
	cancel func() // tells it to stop
	stop   func() error
}

func run(t *testing.T, cfg gateway.Config, auth *gateway.Authenticator, endpoints ...gateway.Endpoint) *running {
	t.Helper()
	for i := range endpoints {
		if endpoints[i].Addresses == nil {
			endpoints[i].Addresses = []string{"127.0.0.1:0"}
		}
	}
	server, err := gateway.New(cfg, endpoints, gateway.Deps{
		Auth: auth, Log: slog.New(slog.DiscardHandler),
		Stats:   func() core.Stats { return core.Stats{Published: 7} },
		Healthy: func() error { return nil },
	})
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	if err := server.Listen(t.Context()); err != nil {
		t.Fatalf("listen: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	var stopped bool
	r := &running{Server: server, cancel: cancel}
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

func (r *running) address(t *testing.T, endpoint string) string {
	t.Helper()
	addrs := r.Addresses(endpoint)
	if len(addrs) == 0 {
		t.Fatalf("endpoint %s has no address", endpoint)
	}
	return addrs[0].String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func exchange(t *testing.T, conn io.ReadWriter, line string) {
	t.Helper()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		t.Fatalf("write: %v", err)
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || got != line+"\n" {
		t.Fatalf("answer: got %q, %v; want %q", got, err, line)
	}
}

func stream(name string, serve serveFunc) gateway.Endpoint {
	return gateway.Endpoint{Name: name, Kind: gateway.Stream, Protocol: serve}
}

func TestServeStreams(t *testing.T) {
	conns := make(chan *gateway.Conn, 2)
	s := run(t, gateway.DefaultConfig(), nil, stream("echo", func(ctx context.Context, conn *gateway.Conn) error {
		conns <- conn
		return echo(ctx, conn)
	}))
	exchange(t, dial(t, s.address(t, "echo")), "one")
	exchange(t, dial(t, s.address(t, "echo")), "two")
	a, b := <-conns, <-conns
	if a.ID == b.ID || a.ID == "" {
		t.Errorf("connection ids %q and %q are not unique", a.ID, b.ID)
	}
	if !a.Loopback || a.Identity != "" {
		t.Errorf("loopback %v, identity %q; want true and none", a.Loopback, a.Identity)
	}
	if _, ok := a.Conn.(*net.TCPConn); !ok {
		t.Errorf("the protocol got a %T, want the bare TCP connection", a.Conn)
	}
}

func TestSeveralAddresses(t *testing.T) {
	e := stream("echo", echo)
	e.Addresses = []string{"127.0.0.1:0", "[::1]:0"}
	s := run(t, gateway.DefaultConfig(), nil, e)
	addrs := s.Addresses("echo")
	if len(addrs) == 1 {
		t.Skip("this host has no IPv6: the second address was left out, as it should be")
	}
	for _, addr := range addrs {
		exchange(t, dial(t, addr.String()), "hello")
	}
	if !strings.HasPrefix(addrs[0].String(), "127.0.0.1:") {
		t.Errorf("first address is %s, want the one configured first", addrs[0])
	}
}

func TestListenFails(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), nil, stream("echo", echo))
	free, taken := stream("free", echo), stream("taken", echo)
	free.Addresses = []string{"127.0.0.1:0"}
	taken.Addresses = []string{s.address(t, "echo")}
	second, err := gateway.New(gateway.DefaultConfig(), []gateway.Endpoint{free, taken},
		gateway.Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = second.Listen(t.Context())
	if err == nil || !strings.Contains(err.Error(), "listen for taken") {
		t.Fatalf("listen on a taken address: got %v, want an error that names the endpoint", err)
	}
	var d net.Dialer
	if conn, err := d.DialContext(t.Context(), "tcp", second.Addresses("free")[0].String()); err == nil {
		_ = conn.Close()
		t.Error("the other address is still open after a failed Listen")
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), nil, stream("echo", func(ctx context.Context, conn *gateway.Conn) error {
		var first [1]byte
		if _, err := io.ReadFull(conn, first[:]); err != nil {
			return err
		}
		if first[0] == '!' {
			_ = []int{}[first[0]]
		}
		return echo(ctx, conn)
	}))
	good, bad := dial(t, s.address(t, "echo")), dial(t, s.address(t, "echo"))
	if _, err := io.WriteString(bad, "!"); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Read(make([]byte, 1)); err == nil {
		t.Error("the connection that panicked is open")
	}
	if _, err := io.WriteString(good, "-"); err != nil {
		t.Fatal(err)
	}
	exchange(t, good, "still here")
	exchange(t, skipByte(t, dial(t, s.address(t, "echo"))), "and new ones")
}

func skipByte(t *testing.T, conn net.Conn) net.Conn {
	t.Helper()
	if _, err := io.WriteString(conn, "-"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestConnectionLimit(t *testing.T) {
	cfg := gateway.DefaultConfig()
	cfg.MaxConnectionsPerAddress = 1
	ended := make(chan struct{}, 3)
	s := run(t, cfg, nil, stream("echo", func(ctx context.Context, conn *gateway.Conn) error {
		defer func() { ended <- struct{}{} }()
		return echo(ctx, conn)
	}))
	first := dial(t, s.address(t, "echo"))
	exchange(t, first, "first")
	if served(t, s.address(t, "echo")) {
		t.Error("a connection over the limit is served")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	// The place is free a moment after Serve has returned.
	for !served(t, s.address(t, "echo")) {
		if t.Context().Err() != nil {
			t.Fatal("no place after the first connection has ended")
		}
	}
}

// served tells whether a new connection gets an answer.
func served(t *testing.T, addr string) bool {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return false // reset before connect returned
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "next\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && line == "next\n"
}

func TestShutdownSaysGoodbye(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), nil, stream("echo", echo))
	conn := dial(t, s.address(t, "echo"))
	exchange(t, conn, "hello")
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "bye\n" {
		t.Errorf("at shutdown: got %q, %v; want bye", got, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("run: %v", err)
	}
	var d net.Dialer
	if conn, err := d.DialContext(t.Context(), "tcp", s.address(t, "echo")); err == nil {
		_ = conn.Close()
		t.Error("the address is still open after shutdown")
	}
}

func TestShutdownClosesTheStubborn(t *testing.T) {
	cfg := gateway.DefaultConfig()
	cfg.DrainGrace = 0
	cfg.DrainTimeout = 20 * time.Millisecond
	reading := make(chan struct{})
	s := run(t, cfg, nil, stream("deaf", func(_ context.Context, conn *gateway.Conn) error {
		close(reading)
		_, err := io.Copy(io.Discard, conn) // does not look at its context
		return errors.Join(errors.New("ended by its socket"), err)
	}))
	dial(t, s.address(t, "deaf"))
	<-reading
	if err := s.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
}

// hold keeps a connection through the shutdown, of which it tells the client
// by one byte, until the client goes.
func hold(inside chan<- struct{}) serveFunc {
	return func(ctx context.Context, conn *gateway.Conn) error {
		close(inside)
		<-ctx.Done()
		if _, err := conn.Write([]byte{'!'}); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, conn)
		return err
	}
}

// TestDrainDelay has a stopping server not ready, and still taking connections, for a while.
func TestDrainDelay(t *testing.T) {
	for _, delay := range []time.Duration{100 * time.Millisecond, 10 * time.Second} {
		cfg := gateway.DefaultConfig()
		cfg.DrainDelay = delay
		s := run(t, cfg, nil, stream("echo", echo), httpEndpoint())
		stopped := time.Now()
		s.cancel()
		web := "http://" + s.address(t, "http") + "/readyz"
		for status := http.StatusOK; status != http.StatusServiceUnavailable; {
			resp, err := http.Get(web)
			if err != nil {
				t.Fatal(err)
			}
			status = resp.StatusCode
			resp.Body.Close()
		}
		conn, err := net.Dial("tcp", s.address(t, "echo"))
		if err == nil {
			exchange(t, conn, "still here")
			conn.Close()
			return
		}
		if time.Since(stopped) < delay {
			t.Fatalf("not ready, and %v", err)
		}
	}
	t.Skip("this machine was too slow to connect within any delay")
}
