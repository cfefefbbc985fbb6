package core

import (
	"context"
	"errors"
)

// emptyNamespace ends what a deleted namespace still has: queues that live in
// memory, since the others were deleted before it. ns.mu is held.
func (b *Broker) emptyNamespace(ns *namespace) {
	for _, q := range ns.queues {
		if !q.spec.Durable {
			b.removeQueue(ns, q)
		}
	}
	ns.version.Add(1)
}

// EndSessions ends all sessions of a namespace, those that are connected too:
// their handles are fenced and Kicked is called. It is for a namespace that is
// about to be deleted, or was: one that is made later under its name must not
// meet them.
func (b *Broker) EndSessions(ctx context.Context, namespace string) error {
	if err := b.wakeSessions(namespace); err != nil {
		return err
	}
	b.sessions.mu.Lock()
	var all []*session
	for key, s := range b.sessions.byKey {
		if key.namespace == namespace {
			all = append(all, s)
		}
	}
	b.sessions.mu.Unlock()
	var errs []error
	for _, s := range all {
		s.op.Lock()
		s.kick(ctx)
		err := s.awaken()
		if err == nil {
			err = s.end(ctx)
		}
		errs = append(errs, err)
		s.op.Unlock()
	}
	return errors.Join(errs...)
}

// wakeSessions takes all sessions of a namespace that rest into memory.
func (b *Broker) wakeSessions(namespace string) error {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil //nolint:nilerr // then it has none
	}
	for _, sh := range b.shards {
		clients, err := sh.SessionClients(namespace)
		if err != nil {
			return b.storageError(err)
		}
		for _, client := range clients {
			b.sessions.wake(b, ns, client)
		}
	}
	return nil
}
