package core

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// A session whose client is away rests once the index has all of it: in memory is when
// it ends, and what its filters have on account of it, namely that they lead to a stream.
// Its client's next connection, or its end, has it read again. One that has something
// that only memory knows does not rest: a will, packet ids of its adapter, or a filter
// for itself. Nor does one with shared subscriptions.

// restLater notes a session whose connection has gone, to rest when the store has it. op
// is held.
func (t *sessions) restLater(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.waits && s.durable {
		s.waits = true
		t.tired[s.home] = append(t.tired[s.home], s)
	}
}

// restSessions has sessions rest that wait for it.
func (b *Broker) restSessions() {
	for home, sh := range b.shards {
		stored := uint64(sh.Stored())
		for _, s := range b.sessions.storedUpTo(home, stored) {
			if !s.rest(stored) {
				b.sessions.restLater(s)
			}
		}
	}
}

// storedUpTo takes those that wait out whose newest record is no newer; with it those that
// are connected again, which come back when they are not.
func (t *sessions) storedUpTo(home int, lsn uint64) (out []*session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.tired[home][:0]
	for _, s := range t.tired[home] {
		if s.live.Load() == nil && s.newest.Load() > lsn {
			waiting = append(waiting, s)
			continue
		}
		s.waits = false
		out = append(out, s)
	}
	clear(t.tired[home][len(waiting):])
	if t.tired[home] = waiting; len(waiting) == 0 {
		t.tired[home] = nil
	}
	return out
}

// rest takes the session out of memory, unless it has what only memory knows. It returns
// false when it is to be tried again.
func (s *session) rest(stored uint64) bool {
	if !s.op.TryLock() {
		return false
	}
	defer s.op.Unlock()
	if s.live.Load() != nil || s.asleep || s.fresh {
		return true
	}
	s.settleHeld()
	if s.waitsApart() || s.newest.Load() > stored || s.will != nil && s.b.wills.has(s.will) {
		return false
	}
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.data != nil || s.expiry <= 0 || !mayRest(s.subs) || s.sharing.Load().any() {
		return true
	}
	s.ended = true // this one; the client's session goes on as another
	for _, sub := range s.subs {
		s.ns.rest(s, sub)
	}
	for _, r := range s.readers {
		r.Rest()
	}
	s.b.sessions.rests(s)
	return true
}

// mayRest tells whether the index has all that there is to know of subscriptions.
func mayRest(subs map[string]*subscription) bool {
	for _, sub := range subs {
		if sub.spec.Exclusive || sub.kind == streamShared {
			return false
		}
	}
	return true
}

// rest takes a subscription out of its filter, but for what it stores. mu is held.
func (ns *namespace) rest(s *session, sub *subscription) {
	f := ns.filters[sub.spec.Filter]
	if f == nil || f.subs[s] != sub {
		return
	}
	f.remove(s)
	ns.unbindUnused(f)
}

// rests notes that the session is in the index alone. Its op and mu are held.
func (t *sessions) rests(s *session) {
	at := int64(never)
	if !s.deadline.IsZero() {
		at = s.deadline.UnixMilli()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byKey, s.key)
	t.ends.set(ending{at: at, id: s.id, home: s.home})
}

// wakeNumber returns a session that rests, to be used by the caller; nil when it has ended
// or does not rest any more.
func (b *Broker) wakeNumber(ctx context.Context, x ending) (*session, error) {
	st, err := b.shards[x.home].Session(x.id)
	if errors.Is(err, shard.ErrNotFound) {
		err = nil // it is not resting any more, or the log would have it
	}
	if st == nil || err != nil {
		return nil, b.storageError(err)
	}
	ns, err := b.namespace(st.Namespace)
	if err != nil {
		return nil, err
	}
	s := b.sessions.wake(b, ns, st.Client)
	if s == nil {
		return nil, nil //nolint:nilnil // somebody else has it
	}
	s.op.Lock()
	defer s.op.Unlock()
	if s.isEnded() {
		return nil, nil //nolint:nilnil // it rests again
	}
	if err := s.awaken(ctx, nil); err != nil {
		return nil, err
	}
	if s.mu.Lock(); s.live.Load() == nil && x.at != never {
		s.deadline = time.UnixMilli(x.at)
	}
	s.mu.Unlock()
	return s, nil
}

// find returns a client's session, which may be asleep; nil when there is none.
func (t *sessions) find(b *Broker, ns *namespace, client string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byKey[sessionKey{ns.name, client}]; s != nil {
		return s
	}
	return t.wakeLocked(b, ns, client)
}

// wake takes a session that rests into memory, asleep; nil when it does not rest.
func (t *sessions) wake(b *Broker, ns *namespace, client string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wakeLocked(b, ns, client)
}

func (t *sessions) wakeLocked(b *Broker, ns *namespace, client string) *session {
	k := sessionKey{ns.name, client}
	x, ok := t.ends.get(sessionID(k))
	if !ok || x.s != nil || t.byKey[k] != nil {
		return nil
	}
	s := b.newSession(ns, client, "", true)
	s.asleep = true
	x.s = s
	t.ends.set(x)
	t.byKey[k] = s
	return s
}

// awaken reads what the index has of a session that rested. may is asked whether whoever
// wants it may have what belongs to the owner: with its error the session rests on. op is
// held. It goes on when ctx ends: half of a session would be none.
func (s *session) awaken(ctx context.Context, may func(owner string) error) error {
	if !s.asleep {
		return nil
	}
	st, err := s.b.shards[s.home].Session(s.id)
	if err != nil {
		return s.b.storageError(err)
	}
	if may != nil {
		if err := may(st.Owner); err != nil {
			s.mu.Lock()
			s.ended = true // this one, as in rest
			s.mu.Unlock()
			s.b.sessions.sleepsOn(s)
			return err
		}
	}
	s.take(st)
	lsns := make([]record.LSN, len(s.b.shards))
	s.ns.mu.Lock()
	for _, filter := range slices.Sorted(maps.Keys(st.Subscriptions)) {
		r := st.Subscriptions[filter]
		sub := s.subscriptionOf(&r)
		if err = s.rejoin(sub, lsns); err != nil {
			break
		}
		s.adopt(sub)
	}
	s.ns.mu.Unlock()
	if err == nil {
		err = s.b.wait(context.WithoutCancel(ctx), lsns)
	}
	if err == nil {
		err = s.attachReaders()
	}
	if err != nil {
		return err
	}
	for _, r := range s.readers {
		r.Pause()
	}
	s.asleep = false
	return nil
}

// sleepsOn has a session rest again that was not awoken.
func (t *sessions) sleepsOn(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, _ := t.ends.get(s.id)
	x.s = nil
	t.ends.set(x)
	delete(t.byKey, s.key)
}

// rejoin puts a subscription back to its filter, which has the stream that it reads; in a
// namespace that was made again it may have none. ns.mu is held.
func (s *session) rejoin(sub *subscription, lsns []record.LSN) error {
	f := s.ns.bindFilter(sub.spec.Filter)
	if sub.kind == streamDurable && f.durable == 0 {
		if _, err := s.b.hold(s.ns, f.text, sub.kind); err != nil {
			return err
		}
		if err := s.b.createCursors(s.ns, s.id, f.text, sub.kind, lsns); err != nil {
			return err
		}
	}
	f.add(s, sub)
	s.ns.version.Add(1)
	return nil
}
