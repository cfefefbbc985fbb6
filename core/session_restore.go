package core

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// restoreSessions goes through the sessions that the shards have. Most of them rest from
// the beginning: only their filters and when they end are taken into memory.
func (b *Broker) restoreSessions(ctx context.Context) error {
	lsns := make([]record.LSN, len(b.shards))
	var wills []map[uint32][]byte
	for _, sh := range b.shards {
		err := sh.EachSession(func(id uint64, st *shard.SessionState) error {
			if record.IsWillSession(id) {
				wills = append(wills, maps.Clone(st.Values))
				return nil
			}
			return b.restoreSession(st, lsns)
		})
		if err != nil {
			return b.storageError(err)
		}
	}
	if err := b.wait(ctx, lsns); err != nil { // for cursors that were lost
		return err
	}
	if err := b.restoreWills(ctx, wills); err != nil {
		return err
	}
	if err := b.sweepFilters(); err != nil {
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
	for _, sh := range b.shards {
		sh.ForgetSessions()
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
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if b.restsAtStart(st) {
		return b.restoreResting(ns, st, lsns)
	}
	s := b.newSession(ns, st.Client, st.Owner, true)
	s.take(st)
	if !st.Stored {
		s.newest.Store(uint64(b.shards[s.home].Committed()))
	}
	b.sessions.byKey[s.key] = s
	if !s.deadline.IsZero() {
		b.sessions.expireAt(s, s.deadline)
	}
	b.sessions.restLater(s)
	for _, filter := range slices.Sorted(maps.Keys(st.Subscriptions)) {
		r := st.Subscriptions[filter]
		sub := s.subscriptionOf(&r)
		s.holdExclusive(sub)
		if err := b.join(ns, s, sub); err != nil {
			return err
		}
		if err := b.createCursors(ns, s.id, filter, sub.kind, lsns); err != nil {
			return err
		}
		s.adopt(sub)
	}
	return s.restoreLent(lsns)
}

// restsAtStart tells whether a session has nothing that is not in the index.
func (b *Broker) restsAtStart(st *shard.SessionState) bool {
	for filter := range st.Subscriptions {
		if _, _, _, shared := sharedForm(filter); shared || st.Subscriptions[filter].Exclusive {
			return false
		}
	}
	if b.hasLent(st.Values) {
		return false
	}
	return st.Stored && st.ID != 0
}

// restoreResting takes of a session what is in memory while it rests. ns.mu is held.
func (b *Broker) restoreResting(ns *namespace, st *shard.SessionState, lsns []record.LSN) error {
	for _, filter := range slices.Sorted(maps.Keys(st.Subscriptions)) {
		if st.Subscriptions[filter].QoS == 0 {
			continue // it is bound when a connection has the session
		}
		if _, err := b.hold(ns, filter, streamDurable); err != nil {
			return err
		}
		if err := b.createCursors(ns, st.ID, filter, streamDurable, lsns); err != nil {
			return err
		}
	}
	ns.version.Add(1)
	x := ending{at: never, id: st.ID, home: b.home(ns.name, []byte(st.Client))}
	if deadline := b.deadlineOf(st); !deadline.IsZero() {
		x.at = deadline.UnixMilli()
	}
	b.sessions.ends.set(x)
	return nil
}

// deadlineOf is when a session ends that no connection has; zero when it stays.
func (b *Broker) deadlineOf(st *shard.SessionState) time.Time {
	if st.Expiry == math.MaxUint64 {
		return time.Time{}
	}
	since := b.deps.Clock.Now()
	if st.Disconnected != 0 { // else it was connected when the broker stopped
		since = time.UnixMilli(st.Disconnected)
	}
	return since.Add(time.Duration(st.Expiry) * time.Millisecond)
}

// take takes what the shard has of the session, but for its subscriptions.
func (s *session) take(st *shard.SessionState) {
	s.owner = st.Owner
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiry, s.values, s.deadline = Forever, maps.Clone(st.Values), s.b.deadlineOf(st)
	if st.Expiry != math.MaxUint64 {
		s.expiry = time.Duration(st.Expiry) * time.Millisecond
	}
}

// subscriptionOf makes a subscription of its record.
func (s *session) subscriptionOf(r *record.Subscription) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextSub = max(s.nextSub, SubID(r.ID)+1)
	return &subscription{id: SubID(r.ID), kind: s.kind(r.Filter, r.QoS), spec: Subscription{
		ID: SubID(r.ID), Filter: r.Filter, QoS: r.QoS, NoLocal: r.NoLocal, Exclusive: r.Exclusive, Data: r.Data,
	}}
}

// sweepFilters removes streams and cursors that no session has: a crash came
// between the records of an unsubscribe in different shards.
func (b *Broker) sweepFilters() error {
	for _, sh := range b.shards {
		var streams []record.Stream
		sh.EachStream(func(info record.Stream) {
			if info.Filter || isShare(&info) {
				streams = append(streams, info)
			}
		})
		var more []record.Stream // that have more cursors than subscriptions
		for i := range streams {
			all, err := b.sweepFilter(sh, &streams[i])
			if err != nil {
				return b.storageError(err)
			}
			if !all {
				more = append(more, streams[i])
			}
		}
		if err := b.sweepCursors(sh, more); err != nil {
			return b.storageError(err)
		}
		sh.RestoredSessions()
	}
	return nil
}

// sweepFilter removes a stream that no session has. all tells that a session has each of
// its cursors: as many as there are subscriptions, each of which has one.
func (b *Broker) sweepFilter(sh *shard.Shard, info *record.Stream) (all bool, err error) {
	if info.Name == "" {
		return true, b.endStrays(sh, info)
	}
	ns, err := b.namespace(info.Namespace)
	if err != nil {
		return true, nil //nolint:nilerr // told of by restoreSession, and kept
	}
	if !info.Filter {
		return true, b.sweepShare(sh, ns, info)
	}
	f := ns.filters[info.Name]
	if f == nil || f.durable != info.ID {
		_, err := sh.DropStream(info.ID)
		return true, err
	}
	return sh.CursorCount(info.ID) == int(f.nDurable), nil
}

// sweepCursors removes the cursors of streams that no session has.
func (b *Broker) sweepCursors(sh *shard.Shard, streams []record.Stream) error {
	if len(streams) == 0 {
		return nil
	}
	known := map[record.StreamID]map[uint64]bool{}
	for i := range streams {
		known[streams[i].ID] = map[uint64]bool{}
	}
	for _, home := range b.shards {
		err := home.EachSession(func(id uint64, st *shard.SessionState) error {
			for filter := range st.Subscriptions {
				if of := known[filterStream(st.Namespace, filter, streamDurable)]; of != nil {
					of[id] = st.Subscriptions[filter].QoS > 0
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range streams {
		for _, id := range sh.Cursors(streams[i].ID) {
			if known[streams[i].ID][id] {
				continue
			}
			if _, _, err := sh.DropCursor(streams[i].ID, id); err != nil {
				return err
			}
		}
	}
	return nil
}
