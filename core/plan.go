package core

import (
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
)

// plan is where publishes with one exchange and key go, as of one version of
// the namespace. A publisher keeps its plans, so that routing costs a map
// look-up per message.
type plan struct {
	version uint64
	// exchange counts the publishes, reaches is how many queues and filters each goes to.
	exchange *stripe
	reaches  uint64
	home     uint32 // shard of the topic: its filters' part and its retained value
	// stored are the parts for messages of QoS 1 and 2; with QoS 0 only queues
	// store: queued.
	stored, queued []planPart
	retained       durability // of a retained value
	// live0 are the sessions that get a message of QoS 0 from memory; live1 those
	// that get any message so, since they subscribed with QoS 0 only.
	live0, live1 []liveTarget
	// keyed tells that a stream among the targets is compacted by key.
	keyed   bool
	noLocal bool // a session with a no-local subscription is among the targets
	// highest is the highest priority that one of the queues knows, byPriority the
	// plans for messages that have one, as far as they are kept.
	highest    uint8
	byPriority map[uint8]*plan
	kept       bool // the publisher has the plan for later messages
	err        error
}

// planPart is the streams of one shard.
type planPart struct {
	shard   uint32
	durable durability // the strictest of the streams
	streams []record.StreamID
	// ttls are the times to live in the streams, in milliseconds and noTTL for
	// none; nil when none has one.
	ttls []int64
	// highest are the highest priorities that the streams know, 0 for none; nil when
	// none knows any.
	highest []uint8
	// refuses tells that one of the queues refuses what is too much for it.
	refuses bool
	// spills are those of the queues that make dead letters of what they refuse.
	spills []spill
}

// liveTarget is a session with those of its subscriptions that match, or a group.
type liveTarget struct {
	session       *session
	subscriptions []SubID
	share         *share // of which one member gets the message
}

// offer gives the target a message that is not stored, see session.offer.
func (t *liveTarget) offer(m *Message) bool {
	if t.share != nil {
		return t.share.online.offer(m)
	}
	return t.session.offer(m, t.subscriptions)
}

// maxPlans bounds a publisher's kept plans, those for priorities included; one that
// publishes to more keys than this begins anew.
const maxPlans = 4096

// room makes room for one more kept plan.
func (p *Publisher) room() {
	if p.kept >= maxPlans {
		clear(p.plans)
		p.kept = 0
	}
	p.kept++
}

// route returns the plan for a message, but for its priority: see prioritised.
func (p *Publisher) route(m *Message) (*plan, error) {
	// The length keeps an exchange whose name has any byte apart from its key.
	p.planKey = append(p.planKey[:0], byte(m.Format), byte(len(m.Exchange)), byte(len(m.Exchange)>>8))
	p.planKey = append(p.planKey, m.Exchange...)
	p.planKey = append(p.planKey, m.Key...)
	version := p.ns.version.Load()
	if len(m.MoreKeys)+len(m.avoid) > 0 || m.dead {
		pl, _ := p.makePlan(m)
		return pl, pl.err
	}
	old := p.plans[string(p.planKey)]
	if old != nil && old.version == version {
		return old, old.err
	}
	pl, cacheable := p.makePlan(m)
	if cacheable {
		if old != nil {
			delete(p.plans, string(p.planKey))
			p.kept -= 1 + len(old.byPriority)
		}
		p.room()
		p.plans[string(p.planKey)], pl.kept = pl, true
	}
	return pl, pl.err
}

func (p *Publisher) makePlan(m *Message) (_ *plan, cacheable bool) {
	key := p.routingKey(m)
	p.ns.mu.RLock()
	defer p.ns.mu.RUnlock()
	pl := &plan{version: p.ns.version.Load(), home: p.b.home(p.ns.name, key), retained: p.ns.durability}
	look := &lookup{broker: p.b, format: m.Format, properties: m.Properties}
	targets, result, err := p.ns.table.Route(&route.Publish{
		Exchange: string(m.Exchange), Key: key, More: m.MoreKeys,
		Headers: look.header, Property: look.property, Chance: rand.Uint64(),
	}, nil)
	if err != nil {
		pl.err = p.routeError(string(m.Exchange), err)
		return pl, true
	}
	if x, _ := p.ns.table.Exchange(string(m.Exchange)); x.Internal && !m.dead {
		pl.err = &Error{
			Reason: ErrInvalid, Kind: "exchange", Name: x.Name, Namespace: p.ns.name, Arg: "internal", Current: "true",
		}
		return pl, true
	}
	if m.forged(key) {
		targets = slices.DeleteFunc(targets, func(t *target) bool { return t.queue == nil })
	}
	for _, t := range targets {
		if t.queue != nil && slices.Contains(m.avoid, t.queue.spec.Name) {
			m.cycled = true
			continue
		}
		if t.queue != nil {
			durable := p.ns.durabilityOf(t.queue)
			pl.highest = max(pl.highest, t.queue.now.settings.Highest)
			pl.keyed = pl.keyed || t.queue.kept != nil && t.queue.kept.compacted
			for _, parts := range []*[]planPart{&pl.queued, &pl.stored} {
				part := pl.store(parts, t.queue.shard, t.queue.stream, durable, t.queue.now.ttl)
				part.refuses = part.refuses || t.queue.now.settings.Refuse
				part.prioritise(t.queue.now.settings.Highest)
				if t.queue.now.spills {
					part.spills = append(part.spills, spill{t.queue.stream, t.queue.spec.Name, t.queue.now.after})
				}
			}
			continue
		}
		if t.share != nil {
			pl.addShare(p.ns, t.share)
			continue
		}
		if t.filter.durable != 0 {
			pl.store(&pl.stored, pl.home, t.filter.durable, p.ns.durability, noTTL)
		}
		if t.filter.transient != 0 {
			pl.store(&pl.stored, pl.home, t.filter.transient, min(p.ns.durability, inSystem), noTTL)
		}
	}
	pl.exchange, pl.reaches = p.ns.exchanges.of(string(m.Exchange)).of(p.number), uint64(len(targets))
	pl.addLive(targets, p.origin)
	return pl, !result.PerMessage
}

// routingKey is the key of a message as AMQP has it. It is valid until the next call.
func (p *Publisher) routingKey(m *Message) []byte {
	if m.Format != FormatMQTT {
		return m.Key
	}
	p.swapped = route.SwapTopic(p.swapped[:0], m.Key)
	return p.swapped
}

// store adds a stream to the part of its shard, which it returns.
func (pl *plan) store(
	parts *[]planPart, shard uint32, id record.StreamID, durable durability, ttl int64,
) *planPart {
	i := slices.IndexFunc(*parts, func(part planPart) bool { return part.shard == shard })
	if i < 0 {
		i = len(*parts)
		*parts = append(*parts, planPart{shard: shard})
	}
	part := &(*parts)[i]
	part.streams = append(part.streams, id)
	part.durable = max(part.durable, durable)
	if ttl != noTTL || part.ttls != nil {
		for len(part.ttls) < len(part.streams)-1 {
			part.ttls = append(part.ttls, noTTL)
		}
		part.ttls = append(part.ttls, ttl)
	}
	return part
}

// addShare has a group get the message: in its queue, or one of its members from memory.
func (pl *plan) addShare(ns *namespace, g *share) {
	pl.live0 = append(pl.live0, liveTarget{share: g})
	if g.queue == nil {
		pl.live1 = append(pl.live1, liveTarget{share: g})
		return
	}
	pl.store(&pl.stored, g.queue.shard, g.queue.stream, ns.durabilityOfShare(g), noTTL)
}

// addLive gathers the subscriptions of each session over all filters that match.
func (pl *plan) addLive(targets []*target, origin *session) {
	var order []*session
	all := map[*session][]*subscription{}
	for _, t := range targets {
		if t.filter == nil {
			continue
		}
		for s, sub := range t.filter.subs {
			pl.noLocal = pl.noLocal || sub.spec.NoLocal
			if sub.spec.NoLocal && s == origin {
				continue
			}
			if all[s] == nil {
				order = append(order, s)
			}
			all[s] = append(all[s], sub)
		}
	}
	for _, s := range order {
		t, highest := liveTarget{session: s}, uint8(0)
		for _, sub := range all[s] {
			t.subscriptions = append(t.subscriptions, sub.id)
			highest = max(highest, sub.spec.QoS)
		}
		pl.live0 = append(pl.live0, t)
		if highest == 0 {
			pl.live1 = append(pl.live1, t)
		}
	}
}

func (p *Publisher) routeError(exchange string, err error) error {
	if errors.Is(err, route.ErrNotFound) {
		return p.ns.notFound("exchange", exchange)
	}
	return &Error{Reason: ErrInvalid, Kind: "exchange", Name: exchange, Namespace: p.ns.name, Detail: err.Error()}
}
