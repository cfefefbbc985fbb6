package sim_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core"
)

// session is an MQTT client. The filters overlap.
type session struct {
	client  string
	expiry  time.Duration
	filters map[string]bool
	dest    *dest // nil while the broker has no such session
	h       *core.Session
	held    []held
	awake   bool
	left    time.Time // when it disconnected
	doubt   bool      // the fault came while its filters changed
	once    []*once
	packets []*packet
	nextKey uint32
	deleted map[uint32]bool // values that were deleted, perhaps not yet for good
}

// once is an exactly-once publish until it is released.
type once struct {
	id        uint16
	m         *message
	x         core.Message
	confirmed bool
	released  uint64 // the number of the release, until it is stored
}

var filters = []string{"t/#", "t/a", "+/b", "#"}

// ended notes that the broker is gone.
func (s *session) ended() {
	s.leftPackets()
	s.h, s.held, s.awake = nil, nil, false
	if s.expiry == 0 {
		s.dest, s.filters = nil, map[string]bool{}
	}
	for _, o := range s.once {
		o.released = 0
	}
}

// open connects the client.
func (w *world) openSession(s *session) {
	if s.h != nil {
		return
	}
	h, present, err := w.OpenSession(context.Background(), namespaceName, core.SessionSpec{
		ClientID: s.client, Expiry: s.expiry, Notify: func() { s.awake = true },
		Live: func(*core.Message, []core.SubID) bool { return true },
	})
	if w.failed("open "+s.client, err) {
		s.doubt = true
		return
	}
	s.h, s.awake = h, true
	w.log("open %s, present %t, with %d filters", s.client, present, len(h.Subscriptions()))
	if s.dest != nil && !present && !s.doubt {
		w.complain("session %s is lost", s.client)
	}
	if s.dest == nil || !present {
		if s.dest != nil {
			s.dest.loosen()
		}
		s.dest = newDest(s.client, s.expiry > 0, w.promise(""))
		if s.expiry == 0 {
			s.dest.promise = min(s.dest.promise, inSystem)
		}
		for _, o := range s.once {
			o.m.retried = true
		}
		s.once, s.packets, s.deleted = nil, nil, map[uint32]bool{}
	}
	w.compareFilters(s)
	if s.doubt { // it may have ended, and be there again without its numbers
		for _, o := range s.once {
			for _, e := range o.m.at {
				e.loose = true
			}
		}
	}
	s.doubt = false
	h.Recover()
	w.restorePackets(s)
	w.resume(s)
}

// compareFilters checks that the session has the filters that it was promised.
func (w *world) compareFilters(s *session) {
	has := map[string]bool{}
	for _, sub := range s.h.Subscriptions() {
		has[sub.Filter] = true
	}
	if !maps.Equal(has, s.filters) {
		if !s.doubt {
			w.complain("session %s has filters %v, not %v", s.client,
				slices.Sorted(maps.Keys(has)), slices.Sorted(maps.Keys(s.filters)))
		}
		s.dest.loosen()
	}
	s.filters = has
}

// resume sends again what the broker has not confirmed, as MQTT asks for.
func (w *world) resume(s *session) {
	for _, o := range slices.Clone(s.once) {
		switch {
		case s.h == nil || w.down:
			return
		case o.confirmed:
			w.release(s, o)
		default:
			w.sendOnce(o)
		}
	}
}

// closeSession disconnects the client. A session that does not outlive that ends.
func (w *world) closeSession(s *session) {
	if s.h == nil {
		return
	}
	w.log("close %s", s.client)
	err := s.h.Close(context.Background())
	s.h, s.left = nil, w.clock.now
	for _, h := range s.held {
		h.inflight = false
	}
	s.held = nil
	s.leftPackets()
	if s.expiry == 0 {
		s.dest.loosen()
		s.dest, s.filters = nil, map[string]bool{}
	}
	if w.failed("close", err) {
		s.doubt = true
	}
}

// subscribe adds a filter, or two at once.
func (w *world) subscribe(s *session) {
	if s.h == nil {
		return
	}
	var specs []core.SubscriptionSpec
	for range 1 + w.rng.IntN(2) {
		f := filters[w.rng.IntN(len(filters))]
		if !slices.ContainsFunc(specs, func(x core.SubscriptionSpec) bool { return x.Filter == f }) {
			specs = append(specs, core.SubscriptionSpec{Filter: f, QoS: uint8(1 + w.rng.IntN(2))})
		}
	}
	s.doubt = true
	existed, err := s.h.Subscribe(context.Background(), specs)
	if w.failed(s.client+" subscribes", err) || w.down {
		return
	}
	s.doubt = false
	for i, spec := range specs {
		w.log("%s subscribes to %s", s.client, spec.Filter)
		if existed[i] != s.filters[spec.Filter] {
			w.complain("%s: subscription to %s existed: %t", s.client, spec.Filter, existed[i])
		}
		s.filters[spec.Filter] = true
	}
}

// unsubscribe removes a filter. What only it has matched may be gone.
func (w *world) unsubscribe(s *session) {
	if s.h == nil || len(s.filters) == 0 {
		return
	}
	all := slices.Sorted(maps.Keys(s.filters))
	f := all[w.rng.IntN(len(all))]
	s.doubt = true
	s.dest.loosen()
	_, err := s.h.Unsubscribe(context.Background(), []string{f})
	if w.failed(s.client+" unsubscribes", err) || w.down {
		return
	}
	s.doubt = false
	w.log("%s unsubscribes from %s", s.client, f)
	delete(s.filters, f)
}

func (w *world) receiveSession(s *session, limit int) int {
	if s.h == nil || !s.awake {
		return 0
	}
	s.awake = false
	got, err := s.h.Next(nil, limit)
	if len(got) > 0 || err != nil {
		s.awake = true
	}
	w.took(s.dest, got, &s.held)
	if w.failed("receive", err) && !w.down {
		w.heal()
		w.closeSession(s) // as the adapters do
	}
	return len(got)
}

func (w *world) settleSession(s *session, all bool) {
	if s.h == nil {
		return
	}
	n := len(s.held)
	if !all {
		w.rng.Shuffle(n, func(i, j int) { s.held[i], s.held[j] = s.held[j], s.held[i] })
		n = w.rng.IntN(n + 1)
	}
	if n == 0 {
		return
	}
	var text list
	for _, h := range s.held[:n] {
		w.settled(h.entry)
		s.h.Settle(h.at)
		text.add("", h.m, "")
	}
	w.log("%s settles%s", s.client, text)
	s.held = slices.Delete(s.held, 0, n)
}

// publishOnce publishes exactly once, under a number that is free.
func (w *world) publishOnce(s *session) {
	if s.h == nil || len(s.once) > 3 {
		return
	}
	id := uint16(1)
	for slices.ContainsFunc(s.once, func(o *once) bool { return o.id == id }) {
		id++
	}
	topic := topics[w.rng.IntN(len(topics))]
	o := &once{id: id, m: w.send(s.client+"once"+topic, w.subscribers(topic))}
	o.x = core.Message{
		Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(topic), QoS: 2,
		Once: core.Once{Session: s.h.ID(), ID: id}, Payload: w.payload(o.m),
	}
	if len(o.m.at) == 0 {
		return // nothing would be stored, and so no number known
	}
	o.m.reach(w.doubtful(), true)
	s.once = append(s.once, o)
	w.publish(w.clients.publishers[2], o.m, o.x, o)
	if o.m.refused {
		s.once = slices.DeleteFunc(s.once, func(x *once) bool { return x == o })
	}
}

// sendOnce sends an exactly-once publish again: it must not come twice.
func (w *world) sendOnce(o *once) {
	o.m.retried = true
	o.m.reach(w.subscribers(string(o.x.Key)), true)
	o.m.reach(w.doubtful(), true)
	w.publish(w.clients.publishers[2], o.m, o.x, o)
}

// release ends exactly-once publishes that are confirmed.
func (w *world) release(s *session, o *once) {
	n, err := s.h.Release(o.id)
	if errors.Is(err, core.ErrNotFound) {
		w.log("%s releases %d: not known", s.client, o.id)
		s.once = slices.DeleteFunc(s.once, func(x *once) bool { return x == o })
		return
	}
	if w.failed("release", err) {
		return
	}
	w.log("%s releases %d", s.client, o.id)
	o.released = n
}

// onceSome goes on with what is under way.
func (w *world) onceSome(s *session) {
	if s.h == nil {
		return
	}
	n, err := s.h.Stored()
	if w.failed("stored", err) {
		return
	}
	s.once = slices.DeleteFunc(s.once, func(o *once) bool { return o.released != 0 && o.released <= n })
	if len(s.once) == 0 {
		return
	}
	o := s.once[w.rng.IntN(len(s.once))]
	switch {
	case o.released != 0:
	case o.confirmed && w.rng.IntN(3) > 0:
		w.release(s, o)
	default:
		w.sendOnce(o)
	}
}
