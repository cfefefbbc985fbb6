package core

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// sessions are all sessions there are: those in memory, and those that rest.
type sessions struct {
	mu    sync.Mutex
	byKey map[sessionKey]*session // in memory
	ends  endings                 // of those without a connection
	tired [][]*session            // by home shard: wait to rest
}

func newSessions(shards int) sessions {
	return sessions{
		byKey: map[sessionKey]*session{}, ends: endings{place: map[uint64]int32{}}, tired: make([][]*session, shards),
	}
}

func (t *sessions) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey[s.key] == s {
		delete(t.byKey, s.key)
		t.ends.drop(s.id)
	}
}

// byID returns all sessions in memory by ascending id.
func (t *sessions) byID() []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.byKey), func(a, b *session) int { return cmp.Compare(a.id, b.id) })
}

func (t *sessions) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey) + t.ends.resting
}

// OpenSession attaches to the client's session, or makes one. Another
// connection that has it is fenced and told by Kicked. present tells that
// there was state of an earlier connection. ErrNotOwner. It returns when the
// session is as durable as its spec says.
func (b *Broker) OpenSession(ctx context.Context, namespace string, spec SessionSpec) (*Session, bool, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, false, err
	}
	for {
		s := b.sessionOf(ns, &spec)
		h, present, again, err := b.attach(ctx, s, spec)
		if err != nil || !again {
			return h, present, err
		}
	}
}

// sessionOf returns the client's session, a new one if there is none.
func (b *Broker) sessionOf(ns *namespace, spec *SessionSpec) *session {
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	k := sessionKey{ns.name, spec.ClientID}
	s := b.sessions.byKey[k]
	if s == nil {
		s = b.sessions.wakeLocked(b, ns, spec.ClientID)
	}
	if s == nil {
		s = b.newSession(ns, spec.ClientID, spec.Owner, spec.Expiry > 0)
		s.fresh = true
		b.sessions.byKey[k] = s
	}
	return s
}

// attach gives the session to a connection. again asks to look the session up
// once more, since this one has ended.
func (b *Broker) attach(ctx context.Context, s *session, spec SessionSpec) (_ *Session, present, again bool, _ error) {
	s.op.Lock()
	defer s.op.Unlock()
	if s.isEnded() {
		return nil, false, true, nil
	}
	may := func(owner string) error {
		if owner == spec.Owner {
			return nil
		}
		return &Error{Reason: ErrNotOwner, Kind: "session", Name: spec.ClientID, Namespace: s.ns.name}
	}
	asleep := s.asleep
	if err := s.awaken(ctx, may); err != nil {
		return nil, false, false, err
	}
	if err := may(s.owner); err != nil {
		return nil, false, false, err
	}
	fresh := s.fresh
	ends := !fresh && (spec.Clean || !s.outlives())
	if spec.Admit != nil && !fresh && !ends { // before anything that a refusal would have to undo
		if err := spec.Admit(s.Subscriptions()); err != nil {
			if asleep {
				b.sessions.restLater(s)
			}
			return nil, false, false, err
		}
	}
	s.kick(ctx)
	s.fresh = false
	if ends {
		if err := s.end(ctx); err != nil {
			return nil, false, false, err
		}
		return nil, false, true, nil
	}
	before := s.takeWill()
	s.mu.Lock()
	s.expiry, s.deadline = spec.Expiry, time.Time{}
	s.mu.Unlock()
	h := &Session{
		session: s, spec: spec, hints: make([]shard.Hint, len(b.shards)),
		delivered: make(delivered, len(b.shards)),
	}
	for i, r := range s.readers {
		h.hints[i] = r.Hint()
	}
	if fresh { // numbers of a transient session that a crash has ended
		if err := b.releaseOnce(s.id); err != nil {
			return nil, false, false, err
		}
	}
	lsn, err := s.log(record.KindSession, record.AppendSession(nil, s.state(0)), nil)
	if err == nil {
		lsn, err = s.leaveWill(&spec, lsn, before)
	}
	if err == nil { // also when it was there: as the log has it, it may have expired by the next start
		err = b.storageError(b.shards[s.home].Wait(ctx, lsn))
	}
	if err == nil {
		err = h.openMembers(ctx, s.shared())
	}
	if err == nil && before != nil && s.will == nil {
		err = s.b.dropClaimed(before)
	}
	if err != nil {
		h.closeMembers(ctx)
		if before != nil {
			s.giveBack(before)
		} else {
			err = errors.Join(err, s.cancelWill())
		}
		undo := s.detach
		if fresh { // nobody has it: what was written of it goes again
			undo = s.end
		}
		return nil, false, false, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	s.live.Store(h)
	for _, r := range s.readers {
		r.Resume()
	}
	return h, !fresh, false, nil
}

// kick fences the connection that has the session. op is held.
func (s *session) kick(ctx context.Context) {
	old := s.live.Swap(nil)
	if old == nil || !old.fence() {
		return
	}
	old.stop(ctx)
	if old.spec.Kicked != nil {
		old.spec.Kicked()
	}
}

func (s *session) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// outlives tells whether the session goes on without its last connection.
func (s *session) outlives() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable && s.expiry > 0
}

// releaseOnce forgets all exactly-once numbers of a session that ends.
func (b *Broker) releaseOnce(id uint64) error {
	for _, s := range b.shards {
		if err := s.ReleaseAll(id); err != nil {
			return b.storageError(err)
		}
	}
	return nil
}
