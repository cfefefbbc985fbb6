package core

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// sessions are all sessions there are, and when those without a connection end.
type sessions struct {
	mu      sync.Mutex
	byKey   map[sessionKey]*session
	expired expiryHeap
}

func (t *sessions) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey[s.key] == s {
		delete(t.byKey, s.key)
	}
}

// byID returns all sessions by ascending id.
func (t *sessions) byID() []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.byKey), func(a, b *session) int { return cmp.Compare(a.id, b.id) })
}

func (t *sessions) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey)
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
	if s.owner != spec.Owner {
		return nil, false, false, &Error{
			Reason: ErrNotOwner, Kind: "session", Name: spec.ClientID, Namespace: s.ns.name,
		}
	}
	fresh := s.fresh
	ends := !fresh && (spec.Clean || !s.outlives())
	if spec.Admit != nil && !fresh && !ends { // before anything that a refusal would have to undo
		if err := spec.Admit(s.Subscriptions()); err != nil {
			return nil, false, false, err
		}
	}
	s.kick()
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
		session: s, spec: spec, hints: make([]shard.Hint, len(b.shards)), acked: make([]record.LSN, len(b.shards)),
		delivered: make(delivered, len(b.shards)),
	}
	for i, r := range s.readers {
		h.hints[i] = r.Hint()
	}
	h.tracker = newTracker(b.shards, spec.Notify)
	if fresh { // numbers of a transient session that a crash has ended
		if err := b.releaseOnce(s.id); err != nil {
			return nil, false, false, err
		}
	}
	lsn, err := s.log(record.KindSession, record.AppendSession(nil, s.state(0)), nil)
	if err == nil {
		lsn, err = s.leaveWill(&spec, lsn)
	}
	if err == nil { // also when it was there: as the log has it, it may have expired by the next start
		err = b.storageError(b.shards[s.home].Wait(ctx, lsn))
	}
	if err == nil {
		err = s.b.dropWill(before)
	}
	if err != nil {
		err = errors.Join(err, s.cancelWill())
		s.leaveBehind(before)
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
func (s *session) kick() {
	old := s.live.Swap(nil)
	if old == nil || !old.fence() {
		return
	}
	old.stop()
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

// restoreSessions takes the sessions that the shards recovered.
func (b *Broker) restoreSessions(ctx context.Context) error {
	lsns := make([]record.LSN, len(b.shards))
	var kept []*shard.SessionState
	for _, sh := range b.shards {
		states := sh.TakeSessions()
		kept = append(kept, takeWills(states)...)
		for _, id := range slices.Sorted(maps.Keys(states)) { // the log tells no map's order
			st := states[id]
			if err := b.restoreSession(st, lsns); err != nil {
				return err
			}
		}
	}
	if err := b.restoreWills(kept); err != nil {
		return err
	}
	if err := b.sweepFilters(); err != nil {
		return err
	}
	if err := b.wait(ctx, lsns); err != nil {
		return err
	}
	for _, s := range b.sessions.byID() {
		if err := s.attachReaders(); err != nil {
			return err
		}
		for _, r := range s.readers {
			r.Pause()
		}
	}
	return nil
}

// sweepFilters removes streams and cursors that no session has: a crash came
// between the records of an unsubscribe in different shards.
func (b *Broker) sweepFilters() error {
	for _, sh := range b.shards {
		var streams []record.Stream
		sh.EachStream(func(info record.Stream) {
			if info.Filter {
				streams = append(streams, info)
			}
		})
		for _, info := range streams {
			if err := b.sweepFilter(sh, &info); err != nil {
				return b.storageError(err)
			}
		}
		sh.RestoredSessions()
	}
	return nil
}

func (b *Broker) sweepFilter(sh *shard.Shard, info *record.Stream) error {
	if info.Name == "" {
		return b.endStrays(sh, info)
	}
	ns, err := b.namespace(info.Namespace)
	if err != nil {
		return nil //nolint:nilerr // told of by restoreSession, and kept
	}
	f := ns.filters[info.Name]
	if f == nil || f.durable != info.ID {
		_, err := sh.DropStream(info.ID)
		return err
	}
	known := map[uint64]bool{}
	for s := range f.subs {
		known[s.id] = true
	}
	for _, id := range sh.Cursors(info.ID) {
		if known[id] {
			continue
		}
		if _, _, err := sh.DropCursor(info.ID, id); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) restoreSession(st *shard.SessionState, lsns []record.LSN) error {
	ns, err := b.namespace(st.Namespace)
	if err != nil {
		b.deps.Log.Warn("session of a namespace that does not exist is kept and not served",
			slog.String("namespace", st.Namespace), slog.String("client", st.Client))
		return nil
	}
	s := b.newSession(ns, st.Client, st.Owner, true)
	s.expiry, s.values = Forever, st.Values
	if st.Expiry != math.MaxUint64 {
		s.expiry = time.Duration(st.Expiry) * time.Millisecond
		since := b.deps.Clock.Now()
		if st.Disconnected != 0 { // else it was connected when the broker stopped
			since = time.UnixMilli(st.Disconnected)
		}
		s.deadline = since.Add(s.expiry)
		b.sessions.expireAt(s, s.deadline)
	}
	b.sessions.byKey[s.key] = s
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, filter := range slices.Sorted(maps.Keys(st.Subscriptions)) {
		r := st.Subscriptions[filter]
		sub := &subscription{id: SubID(r.ID), kind: s.kind(r.QoS), spec: Subscription{
			ID: SubID(r.ID), Filter: r.Filter, QoS: r.QoS, NoLocal: r.NoLocal, Exclusive: r.Exclusive, Data: r.Data,
		}}
		s.holdExclusive(sub)
		if err := b.join(ns, s, sub); err != nil {
			return err
		}
		if err := s.createCursors(sub, lsns); err != nil {
			return err
		}
		s.adopt(sub)
		s.nextSub = max(s.nextSub, sub.id+1)
	}
	return nil
}
