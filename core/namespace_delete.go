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
// their handles are fenced and Kicked is called. What the namespace holds until it is
// due is given up. It is for a namespace that is about to be deleted, or was: one that
// is made later under its name must not meet any of it.
func (b *Broker) EndSessions(ctx context.Context, namespace string) error {
	all, err := b.sessionsOf(namespace)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, b.endSession(ctx, s))
	}
	return errors.Join(append(errs, b.endHeld(ctx, namespace))...)
}

// sessionsOf returns all sessions of a namespace, and takes those that rest into memory. The
// namespace may be gone already. First are those in memory: one that rests meanwhile is
// looked for again when it is used, one that wakes is met below.
func (b *Broker) sessionsOf(namespace string) (all []*session, err error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		ns = newNamespace(namespace, onDisk)
	}
	b.sessions.mu.Lock()
	for key, s := range b.sessions.byKey {
		if key.namespace == namespace {
			all = append(all, s)
		}
	}
	b.sessions.mu.Unlock()
	for _, sh := range b.shards {
		clients, err := sh.SessionClients(namespace)
		if err != nil {
			return nil, b.storageError(err)
		}
		for _, client := range clients {
			if s := b.sessions.find(b, ns, client); s != nil {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// endSession ends a session, or the one that its client's goes on as: it may have rested
// meanwhile.
func (b *Broker) endSession(ctx context.Context, s *session) error {
	for s != nil {
		s.op.Lock()
		if s.isEnded() {
			s.op.Unlock()
			s = b.sessions.find(b, s.ns, s.key.client)
			continue
		}
		defer s.op.Unlock()
		s.kick(ctx)
		if err := s.awaken(ctx, nil); err != nil {
			return err
		}
		return s.end(ctx)
	}
	return nil
}
