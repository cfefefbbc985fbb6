package core

import (
	"cmp"
	"errors"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// retainedSearch are the retained messages of one shard that a subscription asked for.
// They are looked for as they are delivered, so that a client that reads slowly does
// not have the broker hold a list of a million. The session's deliver guards it.
type retainedSearch struct {
	search *shard.RetainedSearch
	shard  uint32
	sub    []SubID
	stream record.StreamID     // that the subscription reads, 0 with QoS 0
	upTo   record.LSN          // of the shard, when the subscription was there
	found  []shard.RetainedRef // and not delivered yet
}

// askRetained puts the retained messages that match the subscription before what
// Next returns.
func (h *Session) askRetained(sub *subscription) {
	var stream record.StreamID
	if sub.kind.own() {
		stream = filterStream(h.ns.name, sub.spec.Filter, sub.kind)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range h.b.shards {
		h.retained = append(h.retained, &retainedSearch{
			search: s.SearchRetained(h.ns.name, sub.spec.Filter), shard: uint32(i), sub: []SubID{sub.id},
			stream: stream, upTo: s.Committed(),
		})
	}
}

// asked is the first of the searches, nil when there is none.
func (h *Session) asked() *retainedSearch {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.retained) == 0 {
		return nil
	}
	return h.retained[0]
}

// retainedStep is how many retained messages are looked for at once: what lies near each
// other in the index is read together.
const retainedStep = 4096

// nextRetained delivers retained messages that new subscriptions asked for.
func (h *Session) nextRetained(dst []Delivery, limit int) ([]Delivery, error) {
	for end := len(dst) + limit; len(dst) < end; {
		r := h.asked()
		if r == nil {
			break
		}
		if len(r.found) == 0 && !h.findRetained(r) {
			continue
		}
		now := r.found[:min(len(r.found), end-len(dst))]
		if err := h.b.storageError(r.search.Fetch(now)); err != nil {
			return dst, err
		}
		for i := range now {
			var err error
			if dst, err = h.deliverRetained(dst, r, &now[i]); err != nil {
				r.found = r.found[i:]
				return dst, err
			}
			now[i] = shard.RetainedRef{}
		}
		r.found = r.found[len(now):]
	}
	return dst, nil
}

// findRetained goes on with a search; false when it has ended, and is not the first any
// more.
func (h *Session) findRetained(r *retainedSearch) bool {
	if r.found = r.search.Next(r.found[:0], retainedStep); len(r.found) > 0 {
		slices.SortFunc(r.found, func(a, b shard.RetainedRef) int { return cmp.Compare(a.Topic, b.Topic) })
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retained = h.retained[1:]; len(h.retained) == 0 {
		h.retained = nil
	}
	return false
}

// deliverRetained delivers one of them, unless it is over.
func (h *Session) deliverRetained(dst []Delivery, r *retainedSearch, ref *shard.RetainedRef) ([]Delivery, error) {
	d := Delivery{Position: Position{LSN: ref.LSN, Shard: r.shard}, Retained: true, Subscriptions: r.sub}
	at, err := r.search.Read(ref, &h.hints[r.shard], h.record)
	err = h.b.asRead(at, err, h.record, &d.Message)
	if errors.Is(err, errLost) {
		return dst, nil // another value took its place, which the subscription gets as a message
	}
	if err != nil {
		return dst, err
	}
	if e := d.Message.ExpireAt; e != 0 && e <= h.b.deps.Clock.Now().UnixMilli() {
		return dst, nil
	}
	if ref.LSN > r.upTo && r.stream != 0 && refersTo(h.record, r.stream) {
		return dst, nil // set since, and comes as a message
	}
	h.delivered.note(r.shard, ref.LSN)
	return append(dst, d), nil
}

// endRetained gives up what is not delivered yet. deliver is held.
func (h *Session) endRetained() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.retained {
		r.search.End()
	}
	h.retained = nil
}

// refersTo tells whether a message was routed to a stream.
func refersTo(m *record.Message, id record.StreamID) bool {
	for i := range m.NumStreams() {
		if m.StreamAt(i) == id {
			return true
		}
	}
	return false
}
