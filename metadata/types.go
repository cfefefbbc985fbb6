package metadata

// The values below are stored as JSON with a version field "v":1, so that they
// can be read with etcdctl.

// Namespace is a tenant border, AMQP's virtual host.
type Namespace struct {
	Name string `json:"name"`
	// Durability tells when publishes are confirmed: "fsync", "os" or "memory".
	// Empty is the broker's default.
	Durability string `json:"durability,omitempty"`
	// Description and Tags are for people.
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	// DefaultQueueType is the type of queues that are declared without one:
	// "classic", "quorum" or "stream". Empty is classic.
	DefaultQueueType string `json:"default_queue_type,omitempty"`
	// Limits bound what the namespace may hold.
	Limits Limits `json:"limits,omitzero"`
}

// Limits bound what one namespace or one user may hold; nil is no limit, and 0
// allows nothing.
type Limits struct {
	MaxConnections *int `json:"max_connections,omitempty"`
	// MaxQueues is for namespaces alone.
	MaxQueues *int `json:"max_queues,omitempty"`
	// MaxChannels is for users alone, over all of their connections.
	MaxChannels *int `json:"max_channels,omitempty"`
}

// User may log in. Hash is an argon2id PHC string, or until the first login a
// hash that came with the definitions of another broker; it prints as "***".
type User struct {
	Name string   `json:"name"`
	Hash Secret   `json:"hash"`
	Tags []string `json:"tags,omitempty"` // "administrator", …
	// Limits bound the user's connections.
	Limits Limits `json:"limits,omitzero"`
}

// Permission gives a user rights in a namespace by regular expressions on
// resource names. They are unanchored unless written so, as in RabbitMQ; an
// empty expression matches only the empty name.
type Permission struct {
	User      string `json:"user"`
	Namespace string `json:"namespace"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

// TopicPermission narrows what a user may do with a topic exchange to routing
// keys that regular expressions match. Without one for the exchange, all keys
// are allowed.
type TopicPermission struct {
	User      string `json:"user"`
	Namespace string `json:"namespace"`
	Exchange  string `json:"exchange"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

// Policy gives settings to the queues and exchanges of a namespace whose names
// its pattern matches; see [PolicySet].
type Policy struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Operator marks the operator's policies, which bound the others.
	Operator bool `json:"operator,omitempty"`
	// Pattern is a regular expression on names, unanchored unless written so.
	Pattern string `json:"pattern"`
	// ApplyTo is one of the constants of that name; empty is ApplyAll.
	ApplyTo string `json:"apply_to,omitempty"`
	// Priority decides between policies that match: the highest counts.
	Priority int `json:"priority,omitempty"`
	// Definition are the settings by key, such as "message-ttl".
	Definition map[string]any `json:"definition,omitempty"`
}

// Exchange is a durable exchange.
type Exchange struct {
	Namespace  string         `json:"namespace"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	AutoDelete bool           `json:"auto_delete,omitempty"`
	Internal   bool           `json:"internal,omitempty"`
	Args       map[string]any `json:"args,omitempty"`
}

// Queue is a durable queue. Stream names its stream in the log of Shard.
type Queue struct {
	Namespace  string         `json:"namespace"`
	Name       string         `json:"name"`
	AutoDelete bool           `json:"auto_delete,omitempty"`
	Args       map[string]any `json:"args,omitempty"`
	Stream     uint64         `json:"stream"`
	Shard      uint32         `json:"shard"`
}

// Binding is a durable binding. (Source, Dest, ToExchange, Key, Args) is its identity.
type Binding struct {
	Namespace  string         `json:"namespace"`
	Source     string         `json:"source"`
	Dest       string         `json:"dest"`
	ToExchange bool           `json:"to_exchange,omitempty"`
	Key        string         `json:"key"`
	Args       map[string]any `json:"args,omitempty"`
}

// Offset is a cursor as last published: everything below Floor and in Ranges
// is settled, as of record LSN of the shard's incarnation.
type Offset struct {
	Stream      uint64      `json:"stream"`
	Cursor      uint64      `json:"cursor"` // 0 for a queue's only cursor
	Shard       uint32      `json:"shard"`
	Incarnation string      `json:"incarnation"`
	LSN         uint64      `json:"lsn"`
	Floor       uint64      `json:"floor"`
	Ranges      [][2]uint64 `json:"ranges,omitempty"` // at most 64, each [first, end)
}
