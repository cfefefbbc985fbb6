// Package replica is the seam between a shard's committer and the way its
// batches become committed: today by the local log alone, with raft later.
package replica

import "github.com/tidegate/tidegate/core/record"

// Log takes proposed batches and commits them in order. The committed function
// given to the implementation when it was opened is called once for each batch,
// in order, after the batch is as durable as it asks for.
type Log interface {
	// Propose hands over the next batch and may block until it is committed. An
	// error is final: the log is poisoned and takes no more.
	Propose(b *record.Batch) error
	// Close stops the log. Batches proposed and not committed may be lost.
	Close() error
}
