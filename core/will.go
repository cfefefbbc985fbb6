package core

import (
	"log/slog"
	"math"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// Will is a message that is published when a connection is lost. It is kept in the log
// until then, in the home shard of its client, and survives a restart of the broker: one
// whose client was connected then is taken for lost at the start.
type Will struct {
	// Message is what is published. Its ExpireAt is not used.
	Message Message
	// Delay is how long after the loss it is published, but not later than the
	// session's end. A connection that goes on with the session before cancels it.
	Delay time.Duration
	// Expiry, if Expires, is how long the message lives once it is published.
	Expiry  time.Duration
	Expires bool
}

// WillOf tells whose will is due.
type WillOf struct {
	Namespace, Client string
	Owner             string // principal, see SessionSpec.Owner
	Key               []byte // topic
}

// GuardWills sets who is asked before a will is published, since permissions may have
// changed after the connection was made: one that may not is dropped. Until then no will
// is published. may is called from any goroutine and must not block.
func (b *Broker) GuardWills(may func(WillOf) bool) {
	b.wills.mu.Lock()
	defer b.wills.mu.Unlock()
	b.wills.may = may
}

// leaveWill writes down the will of a connection that is being made, in the place of that
// of the connection before, if there is one that waits: a crash keeps one of the two. The
// result is what to wait for, lsn when there is no will. op is held.
func (s *session) leaveWill(spec *SessionSpec, lsn record.LSN, before *will) (record.LSN, error) {
	if spec.Will == nil {
		return lsn, nil
	}
	m := &spec.Will.Message
	s.will = &will{
		key: willKey{client: record.WillSession(s.id)}, home: s.home,
		value: record.Will{
			Wait:    uint64(min(spec.Will.Delay, spec.Expiry).Milliseconds()),
			Expires: spec.Will.Expires, Expiry: uint64(spec.Will.Expiry.Milliseconds()),
			Retain: m.Retain, Format: m.Format, QoS: m.QoS,
			Namespace: s.ns.name, Client: s.key.client, Owner: s.owner,
			Exchange: m.Exchange, Key: m.Key, Properties: m.Properties, Payload: m.Payload,
		},
	}
	if before != nil {
		s.b.wills.replace(before, s.will)
	} else {
		s.b.wills.add(s.will)
	}
	return s.b.logWill(s.will, true)
}

// logWill writes a will to the log, or that it is gone.
func (b *Broker) logWill(w *will, present bool) (record.LSN, error) {
	lsn, err := b.shards[w.home].Append(record.KindValue, w.body(present), nil)
	return lsn, b.storageError(err)
}

// body is the record of a will, or of its end.
func (w *will) body(present bool) []byte {
	v := record.Value{Session: w.key.client, Key: w.key.slot, Present: present}
	if present {
		v.Value = record.AppendWill(nil, &w.value)
	}
	return record.AppendValue(nil, &v)
}

// DropWill deletes the connection's will: its client has said goodbye. It returns when
// that is durable.
func (h *Session) DropWill() error {
	h.op.Lock()
	defer h.op.Unlock()
	if h.fenced.Load() {
		return ErrFenced
	}
	return h.cancelWill()
}

// cancelWill deletes the will unless it is on its way, and waits until it is gone for
// good. op is held.
func (s *session) cancelWill() error {
	w := s.will
	s.will = nil
	return s.b.dropWill(w)
}

// dropWill deletes a will, which may be nil, unless it is on its way, and waits until it
// is gone for good.
func (b *Broker) dropWill(w *will) error {
	if w == nil || !b.wills.claim(w) {
		return nil
	}
	return b.dropClaimed(w)
}

func (b *Broker) dropClaimed(w *will) error {
	b.wills.forget(w)
	lsn, err := b.logWill(w, false)
	if err != nil {
		return err
	}
	return b.storageError(b.shards[w.home].Await(lsn))
}

// loseWill sends the will of a connection that is lost, or has it wait. op is held.
func (s *session) loseWill() {
	w := s.will
	if w == nil {
		return
	}
	s.mu.Lock()
	expiry := s.expiry
	s.mu.Unlock()
	wait := min(time.Duration(w.value.Wait)*time.Millisecond, expiry)
	if wait <= 0 {
		s.sendWill()
		return
	}
	s.b.delayWill(w, wait)
}

// delayWill has a will sent in a while, counted on over restarts.
func (b *Broker) delayWill(w *will, wait time.Duration) {
	at := b.deps.Clock.Now().Add(wait)
	w.value.Due = at.UnixMilli()
	if _, err := b.logWill(w, true); err != nil { // then a start counts from itself
		b.deps.Log.Warn("time of a delayed will not written", slog.Any("error", err))
	}
	b.wills.wait(w, at)
}

// takeWill takes the will of the connection before when another goes on with the
// session. One that is due is sent. The result is a delayed one, claimed: it is to be
// dropped or replaced once the new connection is there for good, and given back if it can't
// be. op is held.
func (s *session) takeWill() (delayed *will) {
	w := s.will
	if w == nil {
		return nil
	}
	if w.value.Wait == 0 || w.value.Due != 0 && w.value.Due <= s.b.deps.Clock.Now().UnixMilli() {
		s.sendWill()
		return nil
	}
	if s.will = nil; !s.b.wills.claim(w) { // it is on its way
		return nil
	}
	return w
}

// giveBack has a will that takeWill gave wait on, in the place of what may have replaced
// it: no connection has come in the place of the one that it is of. op is held.
func (s *session) giveBack(w *will) {
	s.b.wills.replace(w, w)
	if s.will = w; w.value.Due == 0 {
		s.loseWill()
		return
	}
	if _, err := s.b.logWill(w, true); err != nil {
		s.b.deps.Log.Warn("delayed will not written again", slog.Any("error", err))
	}
	s.b.wills.wait(w, time.UnixMilli(w.value.Due))
}

// willOfEnded sends the will of a session that ends. op is held.
func (s *session) willOfEnded() {
	if s.will != nil {
		s.sendWill()
	}
}

// sendWill sends the session's will now. op is held.
func (s *session) sendWill() {
	w := s.will
	s.will = nil
	if s.b.wills.guard() == nil { // it is sent when there is one
		if s.b.wills.claim(w) {
			s.b.wills.wait(w, s.b.deps.Clock.Now())
		}
		return
	}
	if s.b.wills.claim(w) {
		s.b.sendWills([]*will{w})
	}
}

// message is what is published of a will.
func (w *will) message(now time.Time) *Message {
	v := &w.value
	m := &Message{
		Format: v.Format, Exchange: v.Exchange, Key: v.Key, Properties: v.Properties,
		Payload: v.Payload, QoS: v.QoS, Retain: v.Retain,
	}
	if v.Expires {
		m.ExpireAt = now.UnixMilli() + int64(min(v.Expiry, math.MaxInt64/2))
	}
	return m
}
