package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/shard"
)

// MaxScheduleName is how long the name of a held message may be, in bytes.
const MaxScheduleName = 255

// Cancel gives up the message that is held under a name. found is false when there is
// none, or it is being delivered: then nothing changes. Once the number of the result is
// settled, what was found will not be delivered.
func (p *Publisher) Cancel(name []byte) (done Published, found bool, err error) {
	to := p.b.home(p.ns.name, name)
	lsn, err := p.b.shards[to].Cancel(p.ns.name, string(name), p.tracker.waiter(to))
	if errors.Is(err, shard.ErrNotFound) {
		return Published{Seq: p.tracker.next()}, false, nil
	}
	if err != nil {
		return Published{}, false, p.b.storageError(err)
	}
	p.tracker.add(to, lsn)
	p.b.counters.cancelled.Add(1)
	return Published{Seq: p.tracker.next(), Routed: true}, true, nil
}

// CancelSchedule is [Publisher.Cancel] for who waits: what was held will not be delivered
// when it returns. ErrNotFound when there is nothing, or it is being delivered.
func (b *Broker) CancelSchedule(ctx context.Context, namespace, name string) error {
	if _, err := b.namespace(namespace); err != nil {
		return err
	}
	s := b.shards[b.home(namespace, []byte(name))]
	lsn, err := s.Cancel(namespace, name, nil)
	if errors.Is(err, shard.ErrNotFound) {
		return &Error{Reason: ErrNotFound, Kind: "schedule", Name: name, Namespace: namespace}
	}
	if err == nil {
		err = s.Wait(ctx, lsn)
	}
	if err != nil {
		return fmt.Errorf("cancel schedule: %w", b.storageError(err))
	}
	b.counters.cancelled.Add(1)
	return nil
}

// HeldMessages is how many messages of a namespace are held.
func (b *Broker) HeldMessages(namespace string) (n uint64) {
	for _, s := range b.shards {
		n += s.Held(namespace)
	}
	return n
}
