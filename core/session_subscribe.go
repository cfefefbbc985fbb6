package core

import (
	"context"
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// Subscribe adds or replaces subscriptions. It returns when they are as durable
// as the session and publishes see them. existed[i] tells that the filter was
// subscribed before; its place in the stream is then kept. ErrInvalid: a
// filter is not valid, and nothing was subscribed.
func (h *Session) Subscribe(ctx context.Context, specs []SubscriptionSpec) (existed []bool, err error) {
	for i := range specs {
		if err := validSubscription(specs[i].Filter); err != nil {
			return nil, &Error{
				Reason: ErrInvalid, Kind: "subscription", Name: specs[i].Filter, Namespace: h.ns.name, Detail: err.Error(),
			}
		}
	}
	h.op.Lock()
	defer h.op.Unlock()
	if h.fenced.Load() {
		return nil, ErrFenced
	}
	// What was begun is finished: half a subscription would hold messages that
	// nobody gets.
	ctx = context.WithoutCancel(ctx)
	lsns := make([]record.LSN, len(h.b.shards))
	added := make([]*subscription, 0, len(specs))
	for i := range specs {
		sub, was, err := h.subscribe(&specs[i], lsns)
		if err != nil {
			return nil, err
		}
		existed = append(existed, was)
		added = append(added, sub)
	}
	if err := h.b.wait(ctx, lsns); err != nil {
		return nil, err
	}
	if err := h.attachReader(added...); err != nil {
		return nil, err
	}
	if err := h.openMembers(ctx, added); err != nil {
		return nil, err
	}
	for i, sub := range added {
		if specs[i].Retained && sub.kind != streamShared {
			h.askRetained(sub)
		}
	}
	h.wake()
	return existed, nil
}

// subscribe makes one subscription; its cursors are there once lsns are committed.
func (s *session) subscribe(spec *SubscriptionSpec, lsns []record.LSN) (*subscription, bool, error) {
	s.mu.Lock()
	old := s.subs[spec.Filter]
	id := s.nextSub
	if old != nil {
		id = old.id
	} else {
		s.nextSub++
	}
	s.mu.Unlock()
	sub := &subscription{id: id, kind: s.kind(spec.Filter, spec.QoS), spec: Subscription{
		ID: id, Filter: spec.Filter, QoS: spec.QoS, NoLocal: spec.NoLocal, Exclusive: spec.Exclusive,
		Data: slices.Clone(spec.Data),
	}}
	// The cursors of the new one come before the old one leaves, so that a
	// filter's stream does not end between the two.
	s.ns.mu.Lock()
	err := s.replace(old, sub, lsns)
	s.ns.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	s.adopt(sub)
	r := record.Subscription{
		Session: s.id, ID: uint32(id), QoS: spec.QoS, NoLocal: spec.NoLocal, Exclusive: spec.Exclusive,
		Filter: spec.Filter, Data: spec.Data,
	}
	lsn, err := s.log(record.KindSubscription, record.AppendSubscription(nil, &r), nil)
	lsns[s.home] = max(lsns[s.home], lsn)
	return sub, old != nil, err
}

// replace puts sub in the place of old, which may be nil. ns.mu is held.
func (s *session) replace(old, sub *subscription, lsns []record.LSN) error {
	if sub.kind == streamShared {
		return s.replaceShare(old, sub, lsns)
	}
	s.holdExclusive(sub)
	if old != nil && old.kind == sub.kind {
		if f := s.ns.filters[sub.spec.Filter]; f != nil {
			f.add(s, sub)
			s.ns.version.Add(1)
		}
		return nil // same cursors
	}
	if err := s.b.join(s.ns, s, sub); err != nil {
		return err
	}
	if err := s.b.createCursors(s.ns, s.id, sub.spec.Filter, sub.kind, lsns); err != nil {
		return err
	}
	if old == nil || old.kind == streamNone {
		return nil
	}
	s.detachReader(old)
	return s.b.leaveStream(s.ns, s.ns.filters[old.spec.Filter], s.id, old.kind, lsns)
}

// createCursors makes a session's cursor on the part of a filter's stream in every shard.
func (b *Broker) createCursors(ns *namespace, id uint64, filter string, kind streamKind, lsns []record.LSN) error {
	if !kind.own() {
		return nil
	}
	stream := filterStream(ns.name, filter, kind)
	for i, sh := range b.shards {
		lsn, err := sh.CreateCursor(stream, id)
		if err != nil {
			return b.storageError(err)
		}
		lsns[i] = max(lsns[i], lsn)
	}
	return nil
}

// adopt makes sub the session's subscription for its filter.
func (s *session) adopt(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandonLocked(s.subs[sub.spec.Filter])
	if s.subs == nil {
		s.subs = map[string]*subscription{}
	}
	s.subs[sub.spec.Filter] = sub
	switch {
	case sub.kind == streamNone:
		sub.place = len(s.quiet)
		s.quiet = append(s.quiet, sub)
	case sub.kind.own():
		if s.byStream == nil {
			s.byStream = map[record.StreamID]*subscription{}
		}
		s.byStream[filterStream(s.ns.name, sub.spec.Filter, sub.kind)] = sub
	}
}

func (s *session) abandonLocked(sub *subscription) {
	if sub == nil {
		return
	}
	delete(s.subs, sub.spec.Filter)
	switch {
	case sub.kind == streamNone:
		last := len(s.quiet) - 1
		s.quiet[sub.place] = s.quiet[last]
		s.quiet[sub.place].place = sub.place
		s.quiet = slices.Delete(s.quiet, last, last+1)
	case sub.kind.own():
		delete(s.byStream, filterStream(s.ns.name, sub.spec.Filter, sub.kind))
	}
}

// attachReader has the connection read the streams of subscriptions, all at once.
func (s *session) attachReader(subs ...*subscription) error {
	var streams []record.StreamID
	for _, sub := range subs {
		if sub.kind.own() {
			streams = append(streams, filterStream(s.ns.name, sub.spec.Filter, sub.kind))
		}
	}
	for _, r := range s.readers {
		if err := r.Attach(streams...); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) attachReaders() error {
	for _, sub := range s.bySubID() {
		if err := s.attachReader(sub); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) detachReader(sub *subscription) {
	if !sub.kind.own() {
		return
	}
	for _, r := range s.readers {
		r.Detach(filterStream(s.ns.name, sub.spec.Filter, sub.kind))
	}
}

// Unsubscribe removes subscriptions; existed[i] tells that it was there. It
// returns when the removal is as durable as the session.
func (h *Session) Unsubscribe(ctx context.Context, filters []string) (existed []bool, err error) {
	h.op.Lock()
	defer h.op.Unlock()
	if h.fenced.Load() {
		return nil, ErrFenced
	}
	ctx = context.WithoutCancel(ctx)
	lsns := make([]record.LSN, len(h.b.shards))
	for _, filter := range filters {
		h.mu.Lock()
		sub := h.subs[filter]
		h.abandonLocked(sub)
		h.mu.Unlock()
		existed = append(existed, sub != nil)
		if sub == nil {
			continue
		}
		h.detachReader(sub)
		h.closeMember(ctx, filter)
		h.ns.mu.Lock()
		err := h.b.leave(h.ns, h.session, sub, lsns)
		h.ns.mu.Unlock()
		if err != nil {
			return nil, err
		}
		r := record.Subscription{Session: h.id, ID: uint32(sub.id), Filter: filter}
		lsn, err := h.log(record.KindSubscriptionDrop, record.AppendSubscription(nil, &r), nil)
		if err != nil {
			return nil, err
		}
		lsns[h.home] = max(lsns[h.home], lsn)
	}
	return existed, h.b.wait(ctx, lsns)
}
