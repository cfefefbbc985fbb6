package gateway

import (
	"net/netip"
	"sync"
)

// registry counts the accepted sockets against the limits and knows the
// connections that protocols serve.
type registry struct {
	maxTotal, maxPerAddress int

	mu      sync.Mutex
	total   int                // accepted sockets; under mu
	from    map[netip.Addr]int // of them by source; under mu
	serving map[*Conn]struct{} // under mu
	closing bool               // under mu
	idle    chan struct{}      // closed once closing and nothing is served
}

func newRegistry(maxTotal, maxPerAddress int) *registry {
	return &registry{
		maxTotal:      maxTotal,
		maxPerAddress: maxPerAddress,
		from:          make(map[netip.Addr]int),
		serving:       make(map[*Conn]struct{}),
		idle:          make(chan struct{}),
	}
}

// source is what the limit per address counts: an IPv6 host has a whole /64.
func source(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}

// admit counts a socket, or tells that there is no room for it.
func (r *registry) admit(addr netip.Addr) bool {
	src := source(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.total >= r.maxTotal || r.from[src] >= r.maxPerAddress {
		return false
	}
	r.total++
	r.from[src]++
	return true
}

// release undoes admit.
func (r *registry) release(addr netip.Addr) {
	src := source(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total--
	if r.from[src]--; r.from[src] == 0 {
		delete(r.from, src)
	}
}

// enter notes a connection that is served; it fails once close was called.
func (r *registry) enter(c *Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.serving[c] = struct{}{}
	return true
}

// leave undoes enter.
func (r *registry) leave(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.serving, c)
	if r.closing && len(r.serving) == 0 {
		close(r.idle)
	}
}

// count returns how many connections are served.
func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.serving)
}

// close lets no connection in any more; the channel it returns is closed when
// the last one has left.
func (r *registry) close() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closing {
		r.closing = true
		if len(r.serving) == 0 {
			close(r.idle)
		}
	}
	return r.idle
}

// abort closes the sockets of all connections and returns how many there were.
func (r *registry) abort() int {
	r.mu.Lock()
	left := make([]*Conn, 0, len(r.serving))
	for c := range r.serving {
		left = append(left, c)
	}
	r.mu.Unlock()
	for _, c := range left {
		_ = c.socket.Close() // the one who serves it sees the error
	}
	return len(left)
}
