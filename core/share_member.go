package core

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// member is a connection's part in a group, or in a queue.
type member struct {
	handle *Session
	sub    *subscription
	only   []SubID
	share  *share // nil for a queue
	place  int    // in share.online, whose lock guards it

	consumer atomic.Pointer[Consumer] // nil while there is no queue
	gone     atomic.Bool              // the consumer's queue was deleted
}

// holding is what a member has and has not settled, and the consumer that fetched it.
type holding struct {
	c   *Consumer
	lsn LSN
}

// place names a message of a shared subscription.
type place struct {
	stream StreamID
	offset Offset
}

func placeOf(p *Position) place { return place{p.Stream, p.Offset} }

// members are a connection's shared subscriptions.
type members struct {
	credit *Limit // all of their unsettled deliveries together
	turn   int    // who is asked first; held with Session.deliver

	mu   sync.Mutex // guards all below; that of a namespace may be held, those of shards are taken under it
	all  []*member  // never changed in place
	held map[place]holding
}

// sharing is what a session knows of its shared subscriptions across connections.
type sharing struct {
	mu   sync.Mutex         // guards both
	lent map[uint32]lending // by the key of the value that tells of it
	keys map[place]uint32   // of lent
}

// lending is a message of a group that a value of the session keeps for its client: nobody else
// gets it. done tells that the client has it.
type lending struct {
	at   Position
	done bool
}

// share makes the session one that has shared subscriptions.
func (s *session) share() *sharing {
	if sh := s.sharing.Load(); sh != nil {
		return sh
	}
	s.sharing.CompareAndSwap(nil, &sharing{lent: map[uint32]lending{}, keys: map[place]uint32{}})
	return s.sharing.Load()
}

// shared returns the subscriptions that share.
func (s *session) shared() (subs []*subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.kind == streamShared {
			subs = append(subs, sub)
		}
	}
	return subs
}

// openMembers makes the connection a member of what subscriptions share. op is held.
func (h *Session) openMembers(ctx context.Context, subs []*subscription) error {
	for _, sub := range subs {
		if sub.kind != streamShared {
			continue
		}
		h.share()
		if err := h.openMember(ctx, sub); err != nil {
			return err
		}
	}
	return nil
}

func (h *Session) openMember(ctx context.Context, sub *subscription) error {
	h.closeMember(ctx, sub.spec.Filter)
	if h.members.credit == nil {
		h.members.credit = queue.NewCredit() // op is held, and nobody asks for it without a member
	}
	m := &member{handle: h, sub: sub, only: []SubID{sub.id}}
	_, _, queue, _ := sharedForm(sub.spec.Filter)
	if queue != "" {
		return h.consumeQueue(ctx, m, queue)
	}
	h.ns.mu.Lock()
	defer h.ns.mu.Unlock()
	g := h.ns.shares[sub.spec.Filter]
	if g == nil {
		return nil
	}
	m.share = g
	h.addMember(m)
	g.online.add(m)
	if g.queue == nil {
		return nil
	}
	return h.b.consumeShare(h.ns, g, m)
}

// consumeShare has a member get what is in the group's queue. ns.mu is held.
func (b *Broker) consumeShare(ns *namespace, g *share, m *member) error {
	c := &Consumer{b: b, ns: ns, q: g.queue, s: b.shards[g.queue.shard], spec: m.consumeSpec()}
	return c.attach(m)
}

// consumeQueue makes the connection a consumer of a queue. One that is not there, or not for
// others, gives nothing: the subscription waits for the next connection.
func (h *Session) consumeQueue(ctx context.Context, m *member, name string) error {
	if st, err := h.b.CheckQueue(h.ns.name, name, ""); err != nil || st.Stream {
		return nil //nolint:nilerr // nothing to be had from it now
	}
	spec := m.consumeSpec()
	spec.Queue = name
	c, err := h.b.Consume(ctx, h.ns.name, spec)
	if err != nil {
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrLocked) || errors.Is(err, ErrInUse) {
			return nil
		}
		return err
	}
	m.consumer.Store(c)
	h.addMember(m)
	return nil
}

func (m *member) consumeSpec() ConsumeSpec {
	return ConsumeSpec{
		Limits: []*Limit{m.handle.members.credit}, Notify: m.handle.spec.Notify, Cancelled: func() { m.gone.Store(true) },
	}
}

// attach makes a consumer that is filled in one of its queue's, for a member.
func (c *Consumer) attach(m *member) error {
	m.gone.Store(false)
	attached, err := c.s.Consume(c.q.stream, c.spec.Limits, 0, c.spec.Notify, c.spec.Cancelled)
	if err != nil {
		return c.b.storageError(err)
	}
	c.c, c.hint = attached, attached.Hint()
	c.b.counters.consumers.Add(1)
	m.consumer.Store(c)
	return nil
}

func (h *Session) addMember(m *member) {
	h.members.mu.Lock()
	defer h.members.mu.Unlock()
	h.members.all = append(slices.Clone(h.members.all), m)
}

// closeMember ends the connection's part in a group or queue. What it has fetched it may still
// settle.
func (h *Session) closeMember(ctx context.Context, filter string) {
	h.members.mu.Lock()
	var left []*member
	var m *member
	for _, other := range h.members.all {
		if other.sub.spec.Filter == filter {
			m = other
		} else {
			left = append(left, other)
		}
	}
	h.members.all = left
	h.members.mu.Unlock()
	if m != nil {
		m.close(ctx)
	}
}

// close ends what the member gets.
func (m *member) close(ctx context.Context) {
	if m.share != nil {
		m.share.online.remove(m)
	}
	if c := m.consumer.Load(); c != nil {
		if err := c.Cancel(context.WithoutCancel(ctx)); err != nil {
			m.handle.b.deps.Log.Warn("consumer of a session not ended cleanly", slog.Any("error", err))
		}
	}
}

// closeMembers ends all of them. What was not settled goes to others, but for what is lent to
// the client. deliver is held.
func (h *Session) closeMembers(ctx context.Context) {
	h.members.mu.Lock()
	all, held := h.members.all, h.members.held
	h.members.all, h.members.held = nil, nil
	h.members.mu.Unlock()
	for _, m := range all {
		m.close(ctx)
	}
	sh, back := h.sharing.Load(), map[*Consumer][]record.Offset{}
	for at, x := range held {
		if !sh.has(at, x.lsn) {
			back[x.c] = append(back[x.c], at.offset)
		}
	}
	for c, offsets := range back {
		slices.Sort(offsets)
		c.c.Settle(offsets, true)
	}
}

// nextShared takes what the connection's shared subscriptions have.
func (h *Session) nextShared(dst []Delivery, room int) ([]Delivery, error) {
	ms := &h.members
	ms.mu.Lock()
	all := ms.all
	ms.mu.Unlock()
	first := len(dst)
	for range all {
		left := room - (len(dst) - first)
		if left <= 0 {
			break
		}
		ms.turn++
		m := all[ms.turn%len(all)]
		c := m.consumer.Load()
		if c == nil || m.gone.Load() {
			continue
		}
		before := len(dst)
		var err error
		dst, err = c.Next(dst, left)
		h.took(m, c, dst[before:])
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// took notes what a member has fetched.
func (h *Session) took(m *member, c *Consumer, got []Delivery) {
	if len(got) == 0 {
		return
	}
	h.members.mu.Lock()
	defer h.members.mu.Unlock()
	if h.members.held == nil {
		h.members.held = map[place]holding{}
	}
	for i := range got {
		p := &got[i].Position
		got[i].Subscriptions, got[i].Shared = m.only, true
		h.members.held[placeOf(p)] = holding{c, p.LSN}
		h.delivered.note(p.Shard, p.LSN)
	}
}

// give lets the shared subscriptions have as many deliveries in flight as the connection has
// room for, beside those that it holds. What was assigned to it beyond that goes to others.
func (h *Session) give(room int) {
	ms := &h.members
	ms.mu.Lock()
	all, held := ms.all, len(ms.held)
	ms.mu.Unlock()
	if len(all) == 0 {
		return
	}
	ms.credit.Set(uint32(held + room))
	tooMany, missed := ms.credit.Used() > held+room, ms.credit.Missed()
	if !tooMany && !missed {
		return
	}
	for _, m := range all {
		c := m.consumer.Load()
		switch {
		case c == nil:
		case tooMany:
			c.unassign()
		default:
			c.Kick()
		}
	}
}

func (c *Consumer) unassign() {
	if queue, ok := c.c.(*shard.Consumer); ok {
		queue.Unassign()
	}
}

// assignAhead is how many messages of shared subscriptions may wait for a connection that has
// room: enough to keep it busy, and few that others do not get if it takes none.
const assignAhead = 64

// Shares tells whether a delivery is of a shared subscription and still this session's.
func (h *Session) Shares(p Position) bool {
	return h.sharing.Load() != nil && !h.fenced.Load() && h.holds(&p)
}

// Withhold keeps messages of shared subscriptions for others, until Next is called again: the
// client takes nothing now.
func (h *Session) Withhold() { h.give(0) }
