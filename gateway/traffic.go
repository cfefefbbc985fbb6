package gateway

import "sync/atomic"

// traffic counts the bytes of a connection inside TLS and WebSocket. Each counter
// has one goroutine that adds to it, once for each call of the socket.
type traffic struct{ received, sent atomic.Uint64 }

// Read reads from the connection and counts the bytes.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.traffic != nil {
		c.traffic.received.Add(uint64(max(n, 0)))
	}
	return n, err
}

// Write writes to the connection and counts the bytes.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.traffic != nil {
		c.traffic.sent.Add(uint64(max(n, 0)))
	}
	return n, err
}

// Traffic returns how many bytes were received and sent through the connection,
// without those of TLS and WebSocket. It may be called from any goroutine. It
// returns false where nobody counts.
func (c *Conn) Traffic() (received, sent uint64, counted bool) {
	if c.traffic == nil {
		return 0, 0, false
	}
	return c.traffic.received.Load(), c.traffic.sent.Load(), true
}
