package core

import (
	"slices"
	"strconv"
	"strings"
)

// QueueInfo is a queue as it is declared and as it stands.
type QueueInfo struct {
	QueueSpec
	QueueStatus
	Traffic Traffic
}

// Queues returns the queues of a namespace by name, those of other owners too.
func (b *Broker) Queues(namespace string) ([]QueueInfo, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, err
	}
	ns.mu.RLock()
	all := make([]*declared, 0, len(ns.queues))
	for _, q := range ns.queues {
		all = append(all, q)
	}
	ns.mu.RUnlock()
	list := make([]QueueInfo, 0, len(all))
	for _, q := range all {
		if info, ok := b.queueInfo(q); ok {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b QueueInfo) int { return strings.Compare(a.QueueSpec.Name, b.QueueSpec.Name) })
	return list, nil
}

// Queue returns one queue, whoever owns it. ErrNotFound.
func (b *Broker) Queue(namespace, name string) (QueueInfo, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return QueueInfo{}, err
	}
	ns.mu.RLock()
	q := ns.queues[name]
	ns.mu.RUnlock()
	if q != nil {
		if info, ok := b.queueInfo(q); ok {
			return info, nil
		}
	}
	return QueueInfo{}, ns.notFound("queue", name)
}

// queueInfo describes a queue; false when it was deleted meanwhile. What it
// reads of q never changes.
func (b *Broker) queueInfo(q *declared) (QueueInfo, bool) {
	st, err := b.shards[q.shard].QueueStats(q.stream)
	if err != nil {
		return QueueInfo{}, false
	}
	info := QueueInfo{
		QueueSpec:   q.spec,
		QueueStatus: QueueStatus{Name: q.spec.Name, Ready: st.Ready, Unsettled: st.Unsettled, Consumers: st.Consumers},
		Traffic:     Traffic{Published: st.Came},
	}
	info.Traffic.use(st.CameAt)
	if left := q.left.Load(); left != nil {
		left.addTo(&info.Traffic)
	}
	return info, true
}

// GiveQueueType gives a declaration that names no type of queue the one that its
// namespace has for such, if the queue can be one: streams and quorum queues are
// durable, of no connection, and stay.
func (b *Broker) GiveQueueType(namespace string, spec *QueueSpec) {
	if _, given := spec.Args[argQueueType]; given {
		return
	}
	home, _ := b.deps.Catalog.Namespace(namespace)
	switch home.DefaultQueueType {
	case quorumQueue, streamQueue:
		if !spec.Durable || spec.Exclusive || spec.AutoDelete {
			return
		}
		if spec.Args == nil {
			spec.Args = make(map[string]any, 1)
		}
		spec.Args[argQueueType] = home.DefaultQueueType
	}
}

// roomForQueue refuses a queue beyond the namespace's limit: ErrLimit. Declares
// at the same time may go over it by their number.
func (b *Broker) roomForQueue(ns *namespace, name string) error {
	home, _ := b.deps.Catalog.Namespace(ns.name)
	limit := home.Limits.MaxQueues
	if limit == nil {
		return nil
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if len(ns.queues) < *limit {
		return nil
	}
	return tooManyQueues(ns.name, name, *limit)
}

func tooManyQueues(namespace, name string, limit int) error {
	return &Error{
		Reason: ErrLimit, Kind: "queue", Name: name, Namespace: namespace, Arg: "max-queues", Current: strconv.Itoa(limit),
	}
}

// Exchanges returns the exchanges of a namespace by name, the predeclared ones
// among them.
func (b *Broker) Exchanges(namespace string) ([]ExchangeSpec, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, err
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	var list []ExchangeSpec
	for x := range ns.table.Exchanges() {
		list = append(list, exchangeSpec(x))
	}
	return list, nil
}

// BindingInfo is a binding with whether it is durable.
type BindingInfo struct {
	BindingSpec
	Durable bool
}

// Bindings returns the bindings of a namespace by source, oldest first within
// one. Those of queues to the default exchange, which are implied, come first.
func (b *Broker) Bindings(namespace string) ([]BindingInfo, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, err
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	var list []BindingInfo
	for name, q := range ns.queues {
		list = append(list, BindingInfo{BindingSpec{Dest: name, Key: name}, q.spec.Durable})
	}
	slices.SortFunc(list, func(a, b BindingInfo) int { return strings.Compare(a.Dest, b.Dest) })
	for x := range ns.table.Exchanges() {
		for bound := range ns.table.Bindings(x.Name) {
			spec := BindingSpec{Source: bound.Source, Key: bound.Key, Args: bound.Args}
			switch {
			case bound.ToExchange != "":
				spec.Dest, spec.ToExchange = bound.ToExchange, true
			case bound.Dest.queue != nil:
				spec.Dest = bound.Dest.queue.spec.Name
			default:
				continue
			}
			list = append(list, BindingInfo{spec, ns.durableBinding(&spec)})
		}
	}
	return list, nil
}
