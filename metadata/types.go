package metadata

// The values below are stored as JSON with a version field "v":1, so that they
// can be read with etcdctl.

// Namespace is a tenant border, AMQP's virtual host.
type Namespace struct {
	Name string `json:"name"`
	// Durability tells when publishes are confirmed: "fsync", "os" or "memory".
	// Empty is the broker's default.
	Durability string `json:"durability,omitempty"`
}

// User may log in. Hash is an argon2id PHC string; it prints as "***".
type User struct {
	Name string   `json:"name"`
	Hash Secret   `json:"hash"`
	Tags []string `json:"tags,omitempty"` // "administrator", …
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
