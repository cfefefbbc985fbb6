package shard

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// The store has the sessions, and the shard none in memory. What the log told of them
// since the store was written is noted while the shard recovers, and put over what the
// store has when the sessions are gone through: one pass over three parts of the store,
// whatever the number of sessions.

// SessionState is a session as the log has it.
type SessionState struct {
	record.Session
	Subscriptions map[string]record.Subscription // by filter
	Values        map[uint32][]byte
	// Stored tells that nothing of it is newer than the store: Session finds it.
	Stored bool
}

// sessionNews is what the log tells of a session beyond the store.
type sessionNews struct {
	ended         bool // at first: what the store has is of an earlier one
	session       *record.Session
	subscriptions map[string]*record.Subscription // nil for one that ended
	values        map[uint32][]byte               // nil for one that was deleted
}

// foldSession notes a session record.
func (s *Shard) foldSession(kind record.Kind, body []byte) error {
	switch kind {
	case record.KindSession, record.KindSessionDrop:
		var r record.Session
		if err := record.DecodeSession(body, &r); err != nil {
			return err
		}
		if kind == record.KindSessionDrop {
			s.sessions[r.ID] = &sessionNews{ended: true}
			return nil
		}
		s.newsOf(r.ID).session = &r
	case record.KindSubscription, record.KindSubscriptionDrop:
		var r record.Subscription
		if err := record.DecodeSubscription(body, &r); err != nil {
			return err
		}
		n := s.newsOf(r.Session)
		if n.subscriptions == nil {
			n.subscriptions = map[string]*record.Subscription{}
		}
		if n.subscriptions[r.Filter] = &r; kind == record.KindSubscriptionDrop {
			n.subscriptions[r.Filter] = nil
		}
	default:
		var r record.Value
		if err := record.DecodeValue(body, &r); err != nil {
			return err
		}
		n := s.newsOf(r.Session)
		if n.values == nil {
			n.values = map[uint32][]byte{}
		}
		if n.values[r.Key] = r.Value; !r.Present {
			n.values[r.Key] = nil
		} else if r.Value == nil {
			n.values[r.Key] = []byte{}
		}
	}
	return nil
}

func (s *Shard) newsOf(id uint64) *sessionNews {
	n := s.sessions[id]
	if n == nil {
		n = new(sessionNews)
		s.sessions[id] = n
	}
	return n
}

// over puts the news over what the store has.
func (n *sessionNews) over(st *SessionState) {
	st.Stored = false
	if n.ended {
		st.Session = record.Session{}
		clear(st.Subscriptions)
		clear(st.Values)
	}
	if n.session != nil {
		st.Session = *n.session
	}
	for filter, r := range n.subscriptions {
		if r == nil {
			delete(st.Subscriptions, filter)
		} else {
			st.Subscriptions[filter] = *r
		}
	}
	for k, v := range n.values {
		if v == nil {
			delete(st.Values, k)
		} else {
			st.Values[k] = v
		}
	}
}

// EachSession calls fn for every session and everything that has values without being
// one, by ascending number, until fn returns an error. The state is valid until fn
// returns, but for what it refers to. It is for who has just opened the shard, and no
// session has changed yet.
func (s *Shard) EachSession(fn func(id uint64, st *SessionState) error) error {
	sessions, endSessions := iter.Pull2(s.stored(index.SessionPrefix))
	defer endSessions()
	subscriptions, endSubscriptions := iter.Pull2(s.stored(index.SubscriptionPrefix))
	defer endSubscriptions()
	values, endValues := iter.Pull2(s.stored(index.ValuePrefix))
	defer endValues()
	parts := [...]*storedPart{
		{next: sessions, take: (*SessionState).takeSession},
		{next: subscriptions, take: (*SessionState).takeSubscription},
		{next: values, take: (*SessionState).takeValue},
	}
	for _, p := range parts {
		if err := p.step(); err != nil {
			return err
		}
	}
	news := slices.Sorted(maps.Keys(s.sessions)) // the log tells no map's order
	st := newSessionState()
	for {
		id, ok := uint64(0), len(news) > 0
		if ok {
			id = news[0]
		}
		for _, p := range parts {
			if p.ok && (!ok || p.id < id) {
				id, ok = p.id, true
			}
		}
		if !ok {
			return nil
		}
		st.reset()
		for _, p := range parts {
			for p.ok && p.id == id {
				if err := errors.Join(p.take(st, p.value), p.step()); err != nil {
					return err
				}
			}
		}
		if len(news) > 0 && news[0] == id {
			news = news[1:]
			s.sessions[id].over(st)
		}
		if st.ID == 0 && len(st.Subscriptions)+len(st.Values) == 0 {
			continue // it has ended
		}
		if err := fn(id, st); err != nil {
			return err
		}
	}
}

// ForgetSessions ends EachSession: nobody asks for all sessions any more.
func (s *Shard) ForgetSessions() { s.sessions = nil }

// storedPart is a part of the store that is gone through, at one of its keys.
type storedPart struct {
	next  func() (storedKey, error, bool)
	take  func(st *SessionState, value []byte) error
	ok    bool // there is one
	id    uint64
	value []byte // valid until step
}

type storedKey struct{ key, value []byte }

func (p *storedPart) step() error {
	at, err, ok := p.next()
	if p.ok = ok; !ok || err != nil {
		return err
	}
	p.value = at.value
	p.id, err = index.Uint64(at.key, 0)
	return err
}

// errStop ends a scan.
var errStop = errors.New("stop")

// stored is a part of the store; an error is the last that it yields.
func (s *Shard) stored(prefix []byte) iter.Seq2[storedKey, error] {
	return func(yield func(storedKey, error) bool) {
		err := s.store.Scan(prefix, func(key, value []byte) error {
			if !yield(storedKey{key, value}, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(storedKey{}, fmt.Errorf("load sessions: %w", err))
		}
	}
}

func newSessionState() *SessionState {
	return &SessionState{Subscriptions: map[string]record.Subscription{}, Values: map[uint32][]byte{}}
}

func (st *SessionState) reset() {
	st.Session, st.Stored = record.Session{}, true
	clear(st.Subscriptions)
	clear(st.Values)
}

func (st *SessionState) takeSession(v []byte) error { return record.DecodeSession(v, &st.Session) }

func (st *SessionState) takeSubscription(v []byte) error {
	var r record.Subscription
	err := record.DecodeSubscription(v, &r)
	st.Subscriptions[r.Filter] = r
	return err
}

func (st *SessionState) takeValue(v []byte) error {
	var r record.Value
	err := record.DecodeValue(v, &r)
	st.Values[r.Key] = r.Value
	return err
}

// Session reads a session from the store: ErrNotFound when that has none. What the log
// tells of it must be no newer than Stored.
func (s *Shard) Session(id uint64) (*SessionState, error) {
	st := newSessionState()
	v, err := s.store.Get(index.SessionKey(id))
	switch {
	case errors.Is(err, index.ErrNotFound):
		return nil, fmt.Errorf("session %x: %w", id, ErrNotFound)
	case err == nil:
		err = st.takeSession(v)
	}
	if err == nil {
		err = s.store.Scan(index.SubscriptionKey(id, ""), func(_, v []byte) error { return st.takeSubscription(v) })
	}
	if err == nil {
		err = s.store.Scan(index.ValuesKey(id), func(_, v []byte) error { return st.takeValue(v) })
	}
	if err != nil {
		return nil, fmt.Errorf("load session %x: %w", id, err)
	}
	return st, nil
}

// SessionClients returns the clients of a namespace that the store has sessions of.
func (s *Shard) SessionClients(namespace string) (clients []string, err error) {
	err = s.store.Scan(index.SessionPrefix, func(_, v []byte) error {
		var r record.Session
		err := record.DecodeSession(v, &r)
		if err == nil && r.Namespace == namespace {
			clients = append(clients, r.Client)
		}
		return err
	})
	return clients, err
}

// Stored is the newest record that the store has the effect of.
func (s *Shard) Stored() record.LSN { return record.LSN(s.spilled.Load()) }
