package gateway

import (
	"errors"
	"fmt"
)

// ErrTooManyConnections refuses a client for a limit of its user or namespace, or
// of the broker.
var ErrTooManyConnections = errors.New("connection limit is reached")

// ErrTooManyChannels refuses a channel for a limit of its user or of the broker.
var ErrTooManyChannels = errors.New("channel limit is reached")

// refusalRoom is how many sockets are let in beyond the limit of connections, so
// that who comes too late is told why when it logs in.
const refusalRoom = 64

// bounds are the limits of the broker as a whole.
type bounds struct {
	node        string
	connections int // 0 for none
	channels    int // 0 for none
}

// bound sets the broker's limits.
func (cs *Clients) bound(node string, cfg Config) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.bounds = bounds{node, cfg.MaxConnections, cfg.MaxChannels}
}

// roomFor tells why one more client can't come. The lock is held.
func (cs *Clients) roomFor(client *Client) error {
	if limit := cs.bounds.connections; limit > 0 && len(cs.byConn) >= limit {
		return fmt.Errorf("connection refused: %w", limitError{"node ", limit})
	}
	ns, _ := cs.catalog.Namespace(client.Namespace)
	if limit := ns.Limits.MaxConnections; limit != nil && cs.byNamespace[client.Namespace] >= *limit {
		return fmt.Errorf("access to vhost '%s' refused for user '%s': %w",
			client.Namespace, client.User, limitError{"", *limit})
	}
	user, _ := cs.catalog.User(client.User)
	if limit := user.Limits.MaxConnections; limit != nil && cs.byUser[client.User] >= *limit {
		return fmt.Errorf("connection refused for user '%s': %w", client.User, limitError{"user ", *limit})
	}
	return nil
}

// limitError is ErrTooManyConnections with the number.
type limitError struct {
	of    string
	limit int
}

func (e limitError) Error() string {
	return fmt.Sprintf("%sconnection limit (%d) is reached", e.of, e.limit)
}

// Is makes errors.Is find ErrTooManyConnections.
func (limitError) Is(target error) bool { return target == ErrTooManyConnections }

// channelError is ErrTooManyChannels in words.
type channelError string

func (e channelError) Error() string { return string(e) }

// Is makes errors.Is find ErrTooManyChannels.
func (channelError) Is(target error) bool { return target == ErrTooManyChannels }

// OpenChannel counts one more channel of the connection's client. It fails with
// ErrTooManyChannels, whose text tells which limit.
func (c *Conn) OpenChannel() error {
	if c.clients == nil {
		return nil
	}
	return c.clients.openChannel(c)
}

// CloseChannel undoes OpenChannel. The end of the connection does it for all of
// its channels.
func (c *Conn) CloseChannel() {
	if c.clients != nil {
		c.clients.closeChannels(c, 1)
	}
}

func (cs *Clients) openChannel(c *Conn) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	client := cs.byConn[c]
	if client == nil {
		return nil
	}
	if limit := cs.bounds.channels; limit > 0 && cs.channels >= limit {
		return channelError(fmt.Sprintf("number of channels opened on node '%s' has reached the maximum allowed limit of (%d)",
			cs.bounds.node, limit))
	}
	user, _ := cs.catalog.User(client.User)
	if limit := user.Limits.MaxChannels; limit != nil && cs.userChannels[client.User] >= *limit {
		return channelError(fmt.Sprintf("number of channels opened for user '%s' has reached the maximum allowed user limit of (%d)",
			client.User, *limit))
	}
	client.opened++
	cs.channels++
	cs.opened++
	cs.userChannels[client.User]++
	return nil
}

func (cs *Clients) closeChannels(c *Conn, n int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if client := cs.byConn[c]; client != nil {
		cs.forgetChannels(client, n)
	}
}

// forgetChannels takes channels of the client out of the count. The lock is held.
func (cs *Clients) forgetChannels(client *Connected, n int) {
	n = min(n, client.opened)
	client.opened -= n
	cs.channels -= n
	if cs.userChannels[client.User] -= n; cs.userChannels[client.User] == 0 {
		delete(cs.userChannels, client.User)
	}
}
