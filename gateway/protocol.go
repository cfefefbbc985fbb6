// Package gateway is the front door: listeners, TLS, WebSocket, login,
// permissions, limits, HTTP and metrics. It knows no protocol: it takes
// protocols as values.
package gateway

import (
	"context"
	"net"
	"time"
)

// Protocol serves connections of one wire protocol.
type Protocol interface {
	// Serve speaks the protocol on conn until it ends or ctx is done; when ctx
	// is done it delivers nothing more, lets the client acknowledge what it has for
	// up to conn.DrainGrace, says goodbye in the protocol's own way and returns soon. The
	// gateway closes conn after Serve returns, recovers its panics, and has
	// set no deadline: the login deadline is the protocol's.
	Serve(ctx context.Context, conn *Conn) error
}

// Conn is an accepted connection.
type Conn struct {
	net.Conn
	// ID is unique in this process and never reused; it names the connection
	// as owner of exclusive queues.
	ID string
	// Loopback tells that the peer is on this machine.
	Loopback bool
	// Certified tells that the client showed a TLS certificate that an authority
	// of the configuration has signed.
	Certified bool
	// Identity is the name in that certificate, "" when it has none of the kind
	// that is configured.
	Identity string
	// Secure tells that the connection is encrypted.
	Secure bool
	// DrainGrace is how long the client has to complete what is in flight once the
	// broker stops; 0 is no time at all.
	DrainGrace time.Duration

	clients *Clients // nil where no list is kept
	traffic *traffic // nil where nobody counts
	// socket is the accepted socket below TLS and WebSocket; closing it ends
	// the connection without a goodbye.
	socket net.Conn
}
