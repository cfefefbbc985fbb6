package core

import (
	"container/heap"
	"log/slog"
	"math"
	"sync"
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

const (
	// willRetry is how long a will waits that can't be stored because disk or
	// memory is low; maxLateWills is how many may.
	willRetry    = time.Second
	maxLateWills = 1024
)

// willKey names a will: the number of its client's wills, see record.WillSession, and
// which of them it is. A client has more than one only while an earlier one could not be
// sent.
type willKey struct {
	client uint64
	slot   uint32
}

// will is a will that has not been sent. It is claimed by who sends or deletes it.
type will struct {
	key   willKey
	home  uint32
	value record.Will // but for Due not changed

	// Guarded by wills.mu:
	claimed bool
	late    bool // it is due and waits for room
	at      time.Time
	place   int // in wills.due, -1 while it is not there
}

// wills are all wills there are, and when those of lost connections are due.
type wills struct {
	mu   sync.Mutex
	all  map[willKey]*will
	due  willHeap
	late int
	may  func(WillOf) bool // nil until GuardWills
}

// GuardWills sets who is asked before a will is published, since permissions may have
// changed after the connection was made: one that may not is dropped. Until then no will
// is published. may is called from any goroutine and must not block.
func (b *Broker) GuardWills(may func(WillOf) bool) {
	b.wills.mu.Lock()
	defer b.wills.mu.Unlock()
	b.wills.may = may
}

// guard returns what GuardWills was given.
func (ws *wills) guard() func(WillOf) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.may
}

// add notes a will, in the first slot of its client that is free.
func (ws *wills) add(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for ws.all[w.key] != nil {
		w.key.slot++
	}
	w.place = -1
	ws.all[w.key] = w
}

// claim gives a will to the caller; false when another has it.
func (ws *wills) claim(w *will) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.claimLocked(w)
}

func (ws *wills) claimLocked(w *will) bool {
	if w.claimed {
		return false
	}
	w.claimed = true
	if w.place >= 0 {
		heap.Remove(&ws.due, w.place)
	}
	if w.late {
		w.late = false
		ws.late--
	}
	return true
}

// forget ends a will that was claimed.
func (ws *wills) forget(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w.key)
}

// abandon ends those of the wills that are claimed. The log keeps them.
func (ws *wills) abandon(all []*will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range all {
		if w.claimed {
			delete(ws.all, w.key)
		}
	}
}

func (ws *wills) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all)
}

// wait has a will sent at a time. One that was claimed is not any more.
func (ws *wills) wait(w *will, at time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.claimed, w.at = false, at
	heap.Push(&ws.due, w)
}

// postpone has a will that was claimed wait for room; false when too many do.
func (ws *wills) postpone(w *will, at time.Time) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.late >= maxLateWills {
		return false
	}
	ws.late++
	w.claimed, w.late, w.at = false, true, at
	heap.Push(&ws.due, w)
	return true
}

// take claims up to n of the wills that are due, all of one shard.
func (ws *wills) take(now time.Time, n int) (out []*will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for ws.may != nil && len(ws.due) > 0 && len(out) < n {
		w := ws.due[0]
		if w.at.After(now) || len(out) > 0 && w.home != out[0].home {
			break
		}
		ws.claimLocked(w)
		out = append(out, w)
	}
	return out
}

// willHeap is a min-heap by time.
type willHeap []*will

func (h willHeap) Len() int           { return len(h) }
func (h willHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h willHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements [heap.Interface].
func (h *willHeap) Push(x any) {
	w := x.(*will) //nolint:errcheck,forcetypeassert // only wills pushes
	w.place = len(*h)
	*h = append(*h, w)
}

// Pop implements [heap.Interface].
func (h *willHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.place = -1
	return w
}

// leaveWill writes down the will of a connection that is being made. The result is what
// to wait for, lsn when there is no will. op is held.
func (s *session) leaveWill(spec *SessionSpec, lsn record.LSN) (record.LSN, error) {
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
	s.b.wills.add(s.will)
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
	if s.will = nil; w == nil || !s.b.wills.claim(w) {
		return nil
	}
	s.b.wills.forget(w)
	lsn, err := s.b.logWill(w, false)
	if err != nil {
		return err
	}
	return s.b.storageError(s.b.shards[w.home].Await(lsn))
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

// resumeWill ends the will of the connection before when another goes on with the
// session: a delayed one is cancelled, another is due. op is held.
func (s *session) resumeWill() error {
	w := s.will
	if w == nil {
		return nil
	}
	due := w.value.Wait == 0 || w.value.Due != 0 && w.value.Due <= s.b.deps.Clock.Now().UnixMilli()
	if !due {
		return s.cancelWill()
	}
	s.sendWill()
	return nil
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
