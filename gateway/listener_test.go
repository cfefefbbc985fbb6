package gateway

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedListener answers Accept from a script and then blocks until it is closed.
type scriptedListener struct {
	mu     sync.Mutex
	script []acceptAnswer // under mu
	closed chan struct{}
}

type acceptAnswer struct {
	conn net.Conn
	err  error
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	if len(l.script) > 0 {
		next := l.script[0]
		l.script = l.script[1:]
		l.mu.Unlock()
		return next.conn, next.err
	}
	l.mu.Unlock()
	<-l.closed
	return nil, net.ErrClosed
}

func (l *scriptedListener) Close() error   { close(l.closed); return nil }
func (l *scriptedListener) Addr() net.Addr { return &net.TCPAddr{} }

func newScripted(conns *registry, script ...acceptAnswer) *listener {
	return newListener(&scriptedListener{script: script, closed: make(chan struct{})},
		"test", conns, newMetrics(Deps{}), slog.New(slog.DiscardHandler))
}

// addressed is a connection that claims to come from an address.
type addressed struct {
	net.Conn
	from   netip.AddrPort
	closed chan struct{}
}

func from(address string) *addressed {
	return &addressed{from: netip.MustParseAddrPort(address), closed: make(chan struct{})}
}

func (c *addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }
func (c *addressed) Close() error         { close(c.closed); return nil }

func TestAcceptSurvivesErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tooMany := acceptAnswer{err: &net.OpError{Op: "accept", Err: syscall.EMFILE}}
		odd := acceptAnswer{err: errors.New("odd")}
		want := from("192.0.2.1:1000")
		l := newScripted(newRegistry(10, 10), tooMany, tooMany, tooMany, odd, acceptAnswer{conn: want})
		began := time.Now()
		got, err := l.Accept()
		if err != nil {
			t.Fatalf("accept: %v", err)
		}
		if a, ok := got.(*admitted); !ok || a.Conn != net.Conn(want) {
			t.Errorf("accept = %v, want the connection after the errors", got)
		}
		// 5 + 10 + 20 + 40 ms
		if waited := time.Since(began); waited != 75*time.Millisecond {
			t.Errorf("paused for %v, want 75ms", waited)
		}
	})
}

func TestCloseEndsAcceptPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := make([]acceptAnswer, 100)
		for i := range script {
			script[i].err = syscall.EMFILE
		}
		l := newScripted(newRegistry(10, 10), script...)
		done := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			done <- err
		}()
		synctest.Wait() // in its first pause
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: got %v, want %v", err, net.ErrClosed)
		}
		if err := l.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestAcceptLimits(t *testing.T) {
	first, second, neighbour, other := from("192.0.2.1:1"), from("192.0.2.1:2"), from("192.0.2.2:1"), from("192.0.2.1:3")
	l := newScripted(newRegistry(2, 1), acceptAnswer{conn: first}, acceptAnswer{conn: second},
		acceptAnswer{conn: neighbour}, acceptAnswer{conn: other})
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept() // second is over the limit of its address
	if err != nil {
		t.Fatal(err)
	}
	<-second.closed
	if got := remoteAddr(b).String(); got != "192.0.2.2" {
		t.Errorf("second admitted from %s, want 192.0.2.2", got)
	}
	if err := a.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-first.closed
	c, err := l.Accept() // there is room again
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != "192.0.2.1:3" {
		t.Errorf("third admitted from %s, want 192.0.2.1:3", got)
	}
}

func TestRegistryCountsNetworks(t *testing.T) {
	r := newRegistry(100, 2)
	for _, step := range []struct {
		addr string
		want bool
	}{
		{"2001:db8::1", true},
		{"2001:db8::2", true},
		{"2001:db8::3", false}, // same /64
		{"2001:db8:0:1::1", true},
		{"192.0.2.1", true},
		{"192.0.2.2", true},
		{"192.0.2.1", true},
		{"192.0.2.1", false},
	} {
		if got := r.admit(netip.MustParseAddr(step.addr)); got != step.want {
			t.Errorf("admit %s: got %v, want %v", step.addr, got, step.want)
		}
	}
	r.release(netip.MustParseAddr("2001:db8::2"))
	if !r.admit(netip.MustParseAddr("2001:db8::9")) {
		t.Error("no room after a release in the same network")
	}
}

func TestNoIPv6(t *testing.T) {
	for _, tc := range []struct {
		addr string
		err  error
		want bool
	}{
		{"[::1]:1883", syscall.EADDRNOTAVAIL, true},
		{"[::1]:1883", syscall.EAFNOSUPPORT, true},
		{"[::1]:1883", syscall.EADDRINUSE, false},
		{"127.0.0.1:1883", syscall.EADDRNOTAVAIL, false},
		{"[2001:db8::1]:1883", syscall.EADDRNOTAVAIL, false},
		{"nonsense", syscall.EADDRNOTAVAIL, false},
	} {
		if got := noIPv6(tc.addr, &net.OpError{Err: tc.err}); got != tc.want {
			t.Errorf("noIPv6(%s, %v) = %v, want %v", tc.addr, tc.err, got, tc.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:1883": "tcp4", "127.0.0.1:0": "tcp4", "[::]:1883": "tcp6", "[::1]:1883": "tcp6",
		":1883": "tcp", "localhost:1883": "tcp",
	} {
		if got := network(addr); got != want {
			t.Errorf("network(%s) = %s, want %s", addr, got, want)
		}
	}
}
