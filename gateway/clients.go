package gateway

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// Client is what a protocol tells of a connection whose client has logged in.
type Client struct {
	// Protocol is its name and version, as "AMQP 0-9-1".
	Protocol        string
	User, Namespace string
	// Given is the name that the client gave its connection, or its client id.
	Given string
	// Mechanism is how the client logged in.
	Mechanism string
	// Properties are what the client says of itself; nil if it says nothing.
	Properties func() map[string]any
	// ChannelMax and FrameMax are 0 where the protocol has no such limit.
	ChannelMax, FrameMax uint32
	// Heartbeat is the time after which a silent client is given up, 0 for none.
	Heartbeat time.Duration
	// Close ends the connection in the protocol's own way. It does not block.
	Close func(reason string)
	// Channels tells of the channels as they are now; nil if the protocol has none.
	Channels func() []Channel
	// State tells whether publishes are held back; nil if the protocol does not know.
	State func() State
}

// State is how a connection stands.
type State uint8

const (
	// Running is the state of a connection from which everything is taken.
	Running State = iota
	// Blocking is that of one that has not published since disk or memory is low: its
	// next publish will be held.
	Blocking
	// Blocked is that of one whose publishes are held.
	Blocked
)

// String returns RabbitMQ's word for the state.
func (s State) String() string {
	return [...]string{Running: "running", Blocking: "blocking", Blocked: "blocked"}[s]
}

// Channel is one channel of a connection.
type Channel struct {
	Number         uint16
	Prefetch       uint16 // of consumers that start from now on
	GlobalPrefetch uint16 // of all consumers together
	Unacked        int
	Confirms       bool // publishes are confirmed
	Transactional  bool // between tx.select and the end of the channel
	// Unconfirmed are publishes that the client waits for the confirms of.
	Unconfirmed uint64
	// Uncommitted are publishes, and UncommittedAcks settlements, that the next
	// commit carries out.
	Uncommitted, UncommittedAcks int
	Consumers                    []Consumer
	// Traffic is what went through the channel since it was opened.
	Traffic core.Traffic
}

// Consumer is one consumer of a channel.
type Consumer struct {
	Tag, Queue       string
	NoAck, Exclusive bool
	// Waiting tells that another consumer of its queue is the single active one.
	Waiting  bool
	Prefetch uint16
	Args     map[string]any
}

// Connected is a client with its connection.
type Connected struct {
	Client
	// Name tells both ends, as "127.0.0.1:50000 -> 127.0.0.1:5672".
	Name string
	Conn *Conn
	// Since is when the client logged in.
	Since time.Time

	opened int // channels that are counted, under the lock of Clients
}

// Clients are all clients that have logged in. It is safe for concurrent use.
type Clients struct {
	catalog *metadata.Catalog

	mu           sync.Mutex // guards all below
	bounds       bounds
	byConn       map[*Conn]*Connected
	byUser       map[string]int
	byNamespace  map[string]int
	channels     int
	opened       uint64 // channels since the start
	userChannels map[string]int
	entered      uint64
	octets       map[string]octets // of clients that are gone, by namespace
}

// octets are bytes that went to clients and came from them.
type octets struct{ received, sent uint64 }

func (o *octets) add(c *Conn) {
	if received, sent, counted := c.Traffic(); counted {
		o.received += received
		o.sent += sent
	}
}

// NewClients returns an empty list; limits are those of the catalog.
func NewClients(catalog *metadata.Catalog) *Clients {
	return &Clients{
		catalog: catalog, byConn: make(map[*Conn]*Connected),
		byUser: make(map[string]int), byNamespace: make(map[string]int), userChannels: make(map[string]int),
		octets: make(map[string]octets),
	}
}

// Announce makes the client known, until its connection ends. It fails with
// ErrTooManyConnections, whose text tells which limit.
func (c *Conn) Announce(client Client) error {
	if c.clients == nil {
		return nil
	}
	return c.clients.enter(c, client)
}

func (cs *Clients) enter(c *Conn, client Client) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.byConn[c] != nil {
		return nil
	}
	if err := cs.roomFor(&client); err != nil {
		return err
	}
	cs.byConn[c] = &Connected{
		Client: client, Conn: c, Since: time.Now(),
		Name: c.RemoteAddr().String() + " -> " + c.LocalAddr().String(),
	}
	cs.entered++
	cs.byUser[client.User]++
	cs.byNamespace[client.Namespace]++
	return nil
}

// leave forgets the connection's client, if it had one.
func (cs *Clients) leave(c *Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	client := cs.byConn[c]
	if client == nil {
		return
	}
	delete(cs.byConn, c)
	gone := cs.octets[client.Namespace]
	gone.add(c)
	cs.octets[client.Namespace] = gone
	cs.forgetChannels(client, client.opened)
	if cs.byUser[client.User]--; cs.byUser[client.User] == 0 {
		delete(cs.byUser, client.User)
	}
	if cs.byNamespace[client.Namespace]--; cs.byNamespace[client.Namespace] == 0 {
		delete(cs.byNamespace, client.Namespace)
	}
}

// Traffic returns how many bytes the clients of a namespace have sent and received, those
// that are gone too.
func (cs *Clients) Traffic(namespace string) (received, sent uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	sum := cs.octets[namespace]
	for _, c := range cs.byConn {
		if c.Namespace == namespace {
			sum.add(c.Conn)
		}
	}
	return sum.received, sum.sent
}

// Forget forgets what the clients of a namespace that is deleted have sent and received.
func (cs *Clients) Forget(namespace string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.octets, namespace)
}

// List returns the clients in the order in which they came.
func (cs *Clients) List() []*Connected {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	out := make([]*Connected, 0, len(cs.byConn))
	for _, c := range cs.byConn {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Connected) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Conn.ID, b.Conn.ID))
	})
	return out
}

// Find returns the client whose connection has the name.
func (cs *Clients) Find(name string) (*Connected, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.byConn {
		if c.Name == name {
			return c, true
		}
	}
	return nil, false
}

// CloseAll ends the connections that which chooses, and returns their number.
func (cs *Clients) CloseAll(reason string, which func(*Connected) bool) int {
	closed := 0
	for _, c := range cs.List() {
		if which(c) {
			c.Close(reason)
			closed++
		}
	}
	return closed
}

// Count returns how many clients there are.
func (cs *Clients) Count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.byConn)
}

// Churn counts the clients and channels that have come since the start, and those of
// them that are gone.
type Churn struct{ Connections, Gone, Channels, GoneChannels uint64 }

// Churn returns the counters.
func (cs *Clients) Churn() Churn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return Churn{
		Connections: cs.entered, Gone: cs.entered - uint64(len(cs.byConn)),
		Channels: cs.opened, GoneChannels: cs.opened - uint64(cs.channels),
	}
}
