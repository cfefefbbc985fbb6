package core

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
	"github.com/tidegate/tidegate/metadata"
)

// namespace is the routing graph of a tenant with its queues and filters. It is
// a fold over the catalog's changes plus what is not durable: transient
// exchanges, queues and bindings, and the filters of sessions.
type namespace struct {
	name string
	// version changes with every change of the graph; cached routes are of one version.
	version atomic.Uint64
	inboxes inboxes
	// came and left count the messages, exchanges the publishes of each exchange.
	came      tally
	left      outflow
	exchanges tallies

	mu sync.RWMutex // guards all below
	// durability of streams that have none of their own.
	durability durability
	table      *route.Table[*target]
	queues     map[string]*declared
	filters    map[string]*filter
	shares     map[string]*share // groups that share a filter, by their subscription
	exclusive  map[string]claim  // who has a filter for itself
	// orphans are auto-delete exchanges that lost their last binding to a durable
	// queue; whoever deleted the queue deletes them.
	orphans []string
	// owned are the exclusive queues of each connection.
	owned map[string]map[*declared]struct{}
	// lastRule is what the queue that was governed last obeys, see sharedRule.
	lastRule *governed
	// policies are those of the namespace, see Broker.govern.
	policies *metadata.PolicySet
}

// target is where a binding leads: a queue, an MQTT filter, or a group that shares one.
type target struct {
	queue  *declared
	filter *filter
	share  *share
}

// declared is a declared queue.
type declared struct {
	target     target
	spec       QueueSpec
	stream     record.StreamID
	shard      uint32
	durability durability // of its own, 0 when it has that of the namespace
	// sharing is that of its arguments; policies do not change it.
	sharing queue.Sharing
	// askedDurable tells that an exclusive queue was declared durable.
	askedDurable bool
	// kept is what a stream queue keeps, nil for all others.
	kept *retention
	// exclusive is set while a consumer has the queue for itself. The namespace's
	// mu guards it.
	exclusive  bool
	deleted    bool
	ackTimeout atomic.Int64            // that of now, for those who don't have mu
	buries     atomic.Bool             // likewise: there is an exchange for dead letters
	now        *governed               // never changed, shared with others; the namespace's mu guards which it is
	lease      atomic.Pointer[lease]   // nil when it stays without being used
	left       atomic.Pointer[outflow] // nil while nothing has left it
}

func newNamespace(name string, durable durability) *namespace {
	return &namespace{
		name: name, came: newTally(), durability: durable, table: route.New[*target](), queues: map[string]*declared{}, filters: map[string]*filter{},
		owned: map[string]map[*declared]struct{}{}, policies: metadata.NewPolicySet(nil),
	}
}

// namespace returns the namespace or ErrNotFound.
func (b *Broker) namespace(name string) (*namespace, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ns := b.namespaces[name]; ns != nil {
		return ns, nil
	}
	return nil, &Error{Reason: ErrNotFound, Kind: "namespace", Name: name, Namespace: name}
}

// allNamespaces returns those that there are now.
func (b *Broker) allNamespaces() []*namespace {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Collect(maps.Values(b.namespaces))
}

// HasNamespace tells whether the namespace exists.
func (b *Broker) HasNamespace(name string) bool {
	_, err := b.namespace(name)
	return err == nil
}

// changed carries out one change of the catalog. It must not wait for the log:
// what it appends is ordered before whatever uses it.
func (b *Broker) changed(c *metadata.Change) error {
	if c.Namespace != nil {
		b.namespaceChanged(c.Namespace, c.Deleted)
		return nil
	}
	ns, err := b.namespace(namespaceOf(c))
	if err != nil {
		if c.Deleted {
			return nil // went with its namespace
		}
		return err
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	defer ns.version.Add(1)
	switch {
	case c.Policy != nil:
		return b.policiesChanged(ns)
	case c.Exchange != nil:
		return b.exchangeChanged(ns, c.Exchange, c.Deleted)
	case c.Queue != nil:
		return b.queueChanged(ns, c.Queue, c.Deleted, c.Lost)
	default:
		return b.bindingChanged(ns, c.Binding, c.Deleted)
	}
}

func (b *Broker) namespaceChanged(n *metadata.Namespace, deleted bool) {
	durable := b.namespaceDurability(n)
	b.mu.Lock()
	ns := b.namespaces[n.Name]
	switch {
	case deleted:
		delete(b.namespaces, n.Name)
		b.counters.keep(ns)
	case ns == nil:
		b.namespaces[n.Name] = newNamespace(n.Name, durable)
	}
	b.mu.Unlock()
	if ns == nil {
		return
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if deleted {
		b.emptyNamespace(ns)
		return
	}
	ns.durability = durable
	ns.version.Add(1)
}

// namespaceDurability is what the metadata asks for. What this version can't
// read becomes the strictest, which loses nothing.
func (b *Broker) namespaceDurability(n *metadata.Namespace) durability {
	name := n.Durability
	if name == "" {
		name = b.cfg.Durability
	}
	durable, err := parseDurability(name)
	if err != nil {
		b.deps.Log.Error("durability of the namespace not known: every publish is synced",
			slog.String("namespace", n.Name), slog.Any("error", err))
		return onDisk
	}
	return durable
}

func namespaceOf(c *metadata.Change) string {
	switch {
	case c.Policy != nil:
		return c.Policy.Namespace
	case c.Exchange != nil:
		return c.Exchange.Namespace
	case c.Queue != nil:
		return c.Queue.Namespace
	default:
		return c.Binding.Namespace
	}
}

func (b *Broker) exchangeChanged(ns *namespace, e *metadata.Exchange, deleted bool) error {
	if deleted {
		ns.table.RemoveExchange(e.Name)
		ns.exchanges.forget(e.Name)
		return nil
	}
	if _, there := ns.table.Exchange(e.Name); there {
		return nil
	}
	x := route.Exchange{
		Name: e.Name, Type: e.Type, Durable: true, AutoDelete: e.AutoDelete, Internal: e.Internal, Args: e.Args,
	}
	x.Alternate = ns.alternate(&x)
	if err := ns.table.AddExchange(x); err != nil {
		return fmt.Errorf("exchange '%s': %w", e.Name, err)
	}
	return nil
}

// queueChanged follows the catalog. A queue that is lost, as when metadata came
// back from an old copy, is served no more, but its messages stay in the log.
func (b *Broker) queueChanged(ns *namespace, q *metadata.Queue, deleted, lost bool) error {
	if deleted {
		old := ns.queues[q.Name]
		switch {
		case old == nil || !old.spec.Durable:
		case lost:
			ns.orphans = append(ns.orphans, ns.forgetQueue(old)...)
			b.deps.Log.Error("queue lost from the metadata: its messages are kept and not served",
				slog.String("namespace", ns.name), slog.String("queue", q.Name), slog.Uint64("stream", q.Stream))
		default:
			ns.orphans = append(ns.orphans, b.removeQueue(ns, old)...)
		}
		return nil
	}
	if old := ns.queues[q.Name]; old != nil && old.stream == record.StreamID(q.Stream) {
		return nil
	}
	if old := ns.queues[q.Name]; old != nil { // a transient one, or of an earlier time
		ns.orphans = append(ns.orphans, b.removeQueue(ns, old)...)
	}
	if int(q.Shard) >= len(b.shards) {
		return fmt.Errorf("queue '%s' lies in shard %d of %d", q.Name, q.Shard, len(b.shards))
	}
	spec := QueueSpec{Name: q.Name, Durable: true, AutoDelete: q.AutoDelete, Args: q.Args}
	return b.addQueue(ns, spec, record.StreamID(q.Stream), q.Shard)
}

// addQueue makes the queue's stream and routes to it. ns.mu is held.
func (b *Broker) addQueue(ns *namespace, spec QueueSpec, id record.StreamID, home uint32) error {
	durable, err := queueDurability(ns.name, &spec)
	if err != nil { // of the metadata, since declares are checked
		durable = onDisk
	}
	info, kept, err := queueStream(ns.name, &spec, id)
	if err != nil { // likewise: what can't be read removes nothing
		b.deps.Log.Error("retention of the stream not known: it keeps everything",
			slog.String("namespace", ns.name), slog.String("queue", spec.Name), slog.Any("error", err))
	}
	if err := b.shards[home].CreateStream(info, spec.Durable); err != nil {
		return b.storageError(err)
	}
	q := &declared{
		spec: spec, stream: id, shard: home, durability: durable, kept: kept, sharing: queueSettings(&spec).Sharing,
	}
	q.target.queue = q
	ns.queues[spec.Name] = q
	if spec.Exclusive {
		if ns.owned[spec.Owner] == nil {
			ns.owned[spec.Owner] = map[*declared]struct{}{}
		}
		ns.owned[spec.Owner][q] = struct{}{}
	}
	b.govern(ns, q)
	ns.table.AddQueue(spec.Name, &q.target)
	ns.version.Add(1)
	return nil
}

// forgetQueue stops routing to the queue and returns exchanges that are to be
// deleted with their last binding. ns.mu is held.
func (ns *namespace) forgetQueue(q *declared) (autoDelete []string) {
	q.deleted = true
	delete(ns.queues, q.spec.Name)
	if owned := ns.owned[q.spec.Owner]; q.spec.Exclusive && owned != nil {
		delete(owned, q)
		if len(owned) == 0 {
			delete(ns.owned, q.spec.Owner)
		}
	}
	ns.table.RemoveQueue(q.spec.Name)
	autoDelete = ns.table.RemoveDest(&q.target)
	ns.version.Add(1)
	return autoDelete
}

// removeQueue forgets the queue and drops its stream. ns.mu is held.
func (b *Broker) removeQueue(ns *namespace, q *declared) (autoDelete []string) {
	b.leases.drop(q)
	autoDelete = ns.forgetQueue(q)
	streams, err := b.shards[q.shard].DropQueue(q.stream)
	if err != nil {
		b.deps.Log.Error("queue not removed from the log", slog.String("queue", q.spec.Name),
			slog.String("namespace", ns.name), slog.Any("error", err))
	}
	if q.spec.Durable {
		for _, id := range streams {
			b.unpublish.add(ended{stream: uint64(id)})
		}
	}
	return autoDelete
}

func (b *Broker) bindingChanged(ns *namespace, m *metadata.Binding, deleted bool) error {
	spec := BindingSpec{Source: m.Source, Dest: m.Dest, ToExchange: m.ToExchange, Key: m.Key, Args: m.Args}
	binding, err := ns.binding(&spec)
	if err != nil {
		if deleted {
			return nil // went with one of its ends
		}
		return err
	}
	if deleted {
		ns.table.Unbind(binding)
		return nil
	}
	ns.bind(binding)
	return nil
}

func (ns *namespace) bind(binding route.Binding[*target]) {
	ns.table.Bind(binding)
	ns.version.Add(1)
}

// binding translates a spec; ErrNotFound when its queue does not exist.
func (ns *namespace) binding(spec *BindingSpec) (route.Binding[*target], error) {
	r := route.Binding[*target]{Source: spec.Source, Key: spec.Key, Args: spec.Args}
	if spec.ToExchange {
		r.ToExchange = spec.Dest
		return r, nil
	}
	q := ns.queues[spec.Dest]
	if q == nil {
		return r, ns.notFound("queue", spec.Dest)
	}
	r.Dest, r.DestName = &q.target, spec.Dest
	return r, nil
}

func (ns *namespace) notFound(kind, name string) error {
	return &Error{Reason: ErrNotFound, Kind: kind, Name: name, Namespace: ns.name}
}

func (ns *namespace) exclusiveQueues(owner string) []*declared {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return slices.Collect(maps.Keys(ns.owned[owner]))
}
