package core

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
	"github.com/tidegate/tidegate/core/shard"
)

// Subscriptions that share what they get with others: `$share/<group>/<filter>` is one
// of those that a group of sessions has, `$queue/<name>` one more consumer of a queue.
const (
	sharePrefix = "$share/"
	queuePrefix = "$queue/"
)

// sharedForm takes apart what a subscription that shares names: a group and its filter, or
// a queue, when group and filter are empty.
func sharedForm(text string) (group, filter, queue string, shared bool) {
	if rest, ok := strings.CutPrefix(text, sharePrefix); ok {
		group, filter, _ = strings.Cut(rest, "/")
		return group, filter, "", true
	}
	if name, ok := strings.CutPrefix(text, queuePrefix); ok {
		return "", "", name, true
	}
	return "", "", "", false
}

// validSubscription tells what is wrong with the filter of a subscription.
func validSubscription(text string) error {
	group, filter, queue, shared := sharedForm(text)
	switch {
	case !shared:
		return route.ValidFilter(text)
	case queue != "":
		return nil
	case group == "" || strings.ContainsAny(group, "+#"):
		return &Error{Reason: ErrInvalid, Kind: "subscription", Name: text, Detail: "no name of a group"}
	}
	return route.ValidFilter(filter)
}

// share is a group of sessions that share a filter. As long as a member asks for QoS 1 or 2,
// its messages of these are in a queue, of which each member that is connected is a
// consumer; others go to one of the members that are connected. The namespace's mu guards
// all fields but online.
type share struct {
	target   target
	text     string // the subscription
	filter   string
	group    string
	queue    *declared // nil while all members have QoS 0
	nStored  int       // members with QoS 1 or 2
	nDurable int       // those of them that outlive a crash
	subs     map[*session]*subscription
	online   online
}

// shareRetry is when a message comes back that a member failed on.
var shareRetry = shard.Backoff{First: time.Second, Most: time.Minute, Limit: 16}

// shareStream is the id of a group's queue. It is derived, so that a restart finds the
// same.
func shareStream(namespace, text string) record.StreamID {
	return filterStream(namespace, text, streamShared)&^(filterBit|shard.PriorityBits) | durableBit
}

// isShare tells whether a stream is that of a group.
func isShare(info *record.Stream) bool {
	return !info.Filter && info.ID == shareStream(info.Namespace, info.Name)
}

// joinShare adds a subscription to its group, and makes the group's queue for the first that
// needs one. ns.mu is held.
func (b *Broker) joinShare(ns *namespace, s *session, sub *subscription) error {
	group, filter, _, _ := sharedForm(sub.spec.Filter)
	if group == "" {
		return nil // of a queue, which is others'
	}
	g := ns.shares[sub.spec.Filter]
	if g == nil {
		g = &share{text: sub.spec.Filter, filter: filter, group: group, subs: map[*session]*subscription{}}
		g.target.share = g
	}
	if sub.spec.QoS > 0 {
		if g.queue == nil {
			if err := b.makeShareQueue(ns, g); err != nil {
				return err
			}
		}
		g.nStored++
		if s.durable {
			g.nDurable++
		}
	}
	if ns.shares[g.text] == nil {
		if ns.shares == nil {
			ns.shares = map[string]*share{}
		}
		ns.shares[g.text] = g
		ns.table.BindFilter(g.filter, &g.target)
	}
	g.subs[s] = sub
	ns.version.Add(1)
	return nil
}

// makeShareQueue makes the queue of a group, for those of its members too that are connected
// and had none. ns.mu is held.
func (b *Broker) makeShareQueue(ns *namespace, g *share) error {
	q := &declared{
		spec: QueueSpec{Name: g.text, Durable: true}, stream: shareStream(ns.name, g.text),
		shard: b.home(ns.name, []byte(g.text)),
	}
	info := record.Stream{ID: q.stream, Namespace: ns.name, Name: g.text}
	if err := b.shards[q.shard].CreateStream(info, true); err != nil {
		return b.storageError(err)
	}
	q.now = &governed{ttl: noTTL}
	if b.deps.DeadLetter != nil {
		q.now.after = afterlife{there: true, key: "dlq." + g.group, keyed: true, strict: true, own: true}
	}
	q.now.settings.DeadLetters = q.now.after.there
	if err := b.shards[q.shard].Configure(q.stream, q.now.settings); err != nil {
		return b.storageError(err)
	}
	q.buries.Store(q.now.after.there)
	g.queue = q
	for _, m := range g.online.all() {
		if err := b.consumeShare(ns, g, m); err != nil {
			return err
		}
	}
	return nil
}

// leaveShare removes a subscription from its group, and the queue with the last that needs it.
// ns.mu is held.
func (b *Broker) leaveShare(ns *namespace, s *session, sub *subscription, lsns []record.LSN) error {
	g := ns.shares[sub.spec.Filter]
	if g == nil || g.subs[s] != sub {
		return nil
	}
	delete(g.subs, s)
	if len(g.subs) == 0 {
		delete(ns.shares, g.text)
		ns.table.UnbindFilter(g.filter, &g.target)
	}
	ns.version.Add(1)
	return b.unstore(g, s, sub, lsns)
}

// unstore counts a member less that needs the queue. ns.mu is held.
func (b *Broker) unstore(g *share, s *session, sub *subscription, lsns []record.LSN) error {
	if sub.spec.QoS == 0 {
		return nil
	}
	g.nStored--
	if s.durable {
		g.nDurable--
	}
	if g.nStored > 0 {
		return nil
	}
	q := g.queue
	g.queue, q.deleted = nil, true
	b.unpublish.add(ended{stream: uint64(q.stream)})
	lsn, err := b.shards[q.shard].DropStream(q.stream)
	lsns[q.shard] = max(lsns[q.shard], lsn)
	return b.storageError(err)
}

// replaceShare puts sub in the place of old, which may be nil. ns.mu is held.
func (s *session) replaceShare(old, sub *subscription, lsns []record.LSN) error {
	if err := s.b.joinShare(s.ns, s, sub); err != nil || old == nil {
		return err
	}
	if g := s.ns.shares[sub.spec.Filter]; g != nil {
		return s.b.unstore(g, s, old, lsns)
	}
	return nil
}

// durabilityOfShare is that of a group's queue: what no session needs after a crash waits for
// no sync.
func (ns *namespace) durabilityOfShare(g *share) durability {
	if g.nDurable == 0 {
		return min(ns.durability, inSystem)
	}
	return ns.durability
}

// sweepShare ends the queue of a group that no session has any more.
func (b *Broker) sweepShare(sh *shard.Shard, ns *namespace, info *record.Stream) error {
	if g := ns.shares[info.Name]; g != nil && g.queue != nil {
		return nil
	}
	_, err := sh.DropStream(info.ID)
	return err
}

// online are the members of a group that are connected, who take turns for messages that
// are not stored.
type online struct {
	mu      sync.Mutex // guards the list; nothing else is locked under it
	members []*member
	next    int
	n       atomic.Int64 // of members, for who does not have mu
}

func (o *online) add(m *member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.place = len(o.members)
	o.members = append(o.members, m)
	o.n.Store(int64(len(o.members)))
}

func (o *online) remove(m *member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.place >= len(o.members) || o.members[m.place] != m {
		return
	}
	last := len(o.members) - 1
	o.members[m.place] = o.members[last]
	o.members[m.place].place = m.place
	o.members[last] = nil
	o.members = o.members[:last]
	o.n.Store(int64(last))
}

func (o *online) all() []*member {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.members)
}

func (o *online) turn() *member {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.members) == 0 {
		return nil
	}
	o.next = (o.next + 1) % len(o.members)
	return o.members[o.next]
}

// offer gives a message that is not stored to one of the members. It returns false when
// all were too slow to take it.
func (o *online) offer(m *Message) bool {
	tries := o.n.Load()
	for range tries {
		if to := o.turn(); to == nil || to.handle.spec.Live(m, to.only) {
			return true
		}
	}
	return tries == 0 // QoS 0 is not kept for who is away
}
