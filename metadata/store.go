// Package metadata holds the cluster's metadata: namespaces, users,
// permissions, exchanges, queues, bindings and published offsets. It defines
// the contract of the key-value store below it, which metadata/etcd and
// metadata/memory implement, and the typed Catalog above it.
package metadata

import (
	"context"
	"errors"
)

// Errors of a Store and of the Catalog.
var (
	ErrNotFound    = errors.New("key not found")
	ErrCompacted   = errors.New("revision compacted") // watch too far back: range again
	ErrUnavailable = errors.New("metadata store not available")
	ErrClosed      = errors.New("metadata store closed")
	ErrInvalid     = errors.New("invalid metadata request")          // will never succeed as it is
	ErrVersion     = errors.New("metadata value of a newer version") // written by a later Tidegate
)

// Revision counts the changes of a store; every change has a larger one.
type Revision int64

// KV is one key with its value as of ModRevision.
type KV struct {
	Key         string
	Value       []byte
	ModRevision Revision
}

// Compare is a condition of a transaction: the key's ModRevision must be
// Revision; 0 means that the key must not exist.
type Compare struct {
	Key      string
	Revision Revision
}

// Op is one write of a transaction: a put, or a delete when Value is nil.
// With Prefix a delete covers all keys that begin with Key.
type Op struct {
	Key    string
	Value  []byte
	Prefix bool
}

// Event is one change seen by a watch. Value is nil for a delete.
type Event struct {
	Key      string
	Value    []byte
	Revision Revision
}

// MaxTxnOps is how many ops, and how many compares, a transaction may have in
// every store; it is etcd's default limit.
const MaxTxnOps = 128

// Store is an ordered key-value store with revisions, compare-and-write
// transactions and watches. All methods are safe for concurrent use. A method
// returns an error that wraps ErrUnavailable when the store can't be reached.
type Store interface {
	// Get returns one key, or ErrNotFound.
	Get(ctx context.Context, key string) (KV, error)
	// Range returns up to limit keys with the prefix that are greater than
	// after, in order, as of revision at (0 = now), and that revision. Fewer
	// than limit means the end. ErrCompacted tells that at is too far back.
	Range(ctx context.Context, prefix, after string, limit int, at Revision) ([]KV, Revision, error)
	// Txn applies all ops if all compares hold, else none, and tells which.
	// The revision is that of the change, or the present one if nothing changed.
	// Two ops on one key are ErrInvalid. At most MaxTxnOps ops are accepted by
	// every implementation.
	Txn(ctx context.Context, compares []Compare, ops []Op) (applied bool, rev Revision, err error)
	// Watch calls fn with the changes under prefix that are later than from,
	// in order, all of one revision in one call, until ctx ends or an error
	// stops it (ErrCompacted, ErrUnavailable). It blocks. fn gets an empty
	// slice for revisions that changed nothing under the prefix, if the
	// implementation learns of them. A store that turns out to be older than
	// from stops it with ErrCompacted too.
	Watch(ctx context.Context, prefix string, from Revision, fn func(Revision, []Event)) error
	// Close releases what the store holds. Methods then return ErrClosed.
	Close() error
}
