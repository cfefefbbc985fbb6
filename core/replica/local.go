package replica

import (
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// Local commits to the log on this machine alone: a batch is committed as soon
// as it is as durable here as it asks for.
type Local struct {
	log       *commitlog.Log
	committed func(*record.Batch)
}

var _ Log = (*Local)(nil)

// NewLocal returns a replica over an open log, which it owns from now on.
// committed is called by Propose, in its goroutine.
func NewLocal(log *commitlog.Log, committed func(*record.Batch)) *Local {
	return &Local{log: log, committed: committed}
}

// Propose appends the batch and blocks until it is committed. It must be
// called from one goroutine at a time, or batches may commit out of order.
func (l *Local) Propose(b *record.Batch) error {
	if err := l.log.Append(b); err != nil {
		return err
	}
	l.committed(b)
	return nil
}

// Close closes the log.
func (l *Local) Close() error { return l.log.Close() }
