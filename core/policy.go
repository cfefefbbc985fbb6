package core

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/core/route"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/metadata"
)

// governed is how a queue behaves by its arguments and by the policies of now.
type governed struct {
	settings shard.QueueSettings
	ttl      int64           // of its messages in milliseconds, noTTL for none
	term     time.Duration   // of its lease, 0 for none
	rules    shard.Retention // of a stream queue
	acks     time.Duration   // see ackTimeout
	after    afterlife       // of its messages
	spills   bool            // what it refuses becomes dead letters
}

// policiesChanged has all of the namespace behave as its policies say. Whoever
// declares something later looks at them too. ns.mu is held.
func (b *Broker) policiesChanged(ns *namespace) error {
	ns.policies = metadata.NewPolicySet(b.deps.Catalog.NamespacePolicies(ns.name))
	for _, q := range ns.queues {
		b.govern(ns, q)
	}
	var exchanges []route.Exchange
	for x := range ns.table.Exchanges() {
		exchanges = append(exchanges, x)
	}
	for _, x := range exchanges {
		if alternate := ns.alternate(&x); alternate != x.Alternate {
			x.Alternate = alternate
			if err := ns.table.AddExchange(x); err != nil {
				return fmt.Errorf("exchange '%s': %w", x.Name, err)
			}
		}
	}
	return nil
}

// govern has the queue behave as its arguments and the policies say. ns.mu is held.
func (b *Broker) govern(ns *namespace, q *declared) {
	now := ns.sharedRule(b.governedQueue(ns, q))
	old, fresh := q.now, q.now == nil
	q.now = now
	if fresh {
		old = new(governed)
	}
	if fresh || now.settings != old.settings {
		if err := b.shards[q.shard].Configure(q.stream, now.settings); err != nil {
			b.deps.Log.Error("queue not bounded by the bytes that wait", slog.String("namespace", ns.name),
				slog.String("queue", q.spec.Name), slog.Any("error", err))
		}
	}
	q.buries.Store(now.after.there)
	q.ackTimeout.Store(int64(now.acks))
	if now.term != old.term {
		b.leases.set(ns, q, now.term)
	}
	if q.kept != nil && (fresh || now.rules != old.rules) {
		if err := b.shards[q.shard].Keep(q.stream, now.rules); err != nil {
			b.deps.Log.Error("retention of the stream not changed", slog.String("namespace", ns.name),
				slog.String("queue", q.spec.Name), slog.Any("error", err))
		}
	}
}

// sharedRule returns the rule that the queue before has when it is the same, as
// it is for most queues: they share it, and nobody changes it. ns.mu is held.
func (ns *namespace) sharedRule(now governed) *governed {
	if ns.lastRule == nil || *ns.lastRule != now {
		ns.lastRule = &now
	}
	return ns.lastRule
}

// governedQueue decides how the queue is to behave.
func (b *Broker) governedQueue(ns *namespace, q *declared) governed {
	kind := q.spec.queueType()
	spec := q.spec
	definition := ns.policies.Definition(metadata.PolicyTarget{Name: spec.Name, QueueType: kind})
	spec.Args = governedArgs(kind, spec.Args, definition)
	now := governed{settings: queueSettings(&spec), ttl: queueTTL(&spec), term: queueTerm(&spec), acks: ackTimeout(&spec)}
	if q.kept == nil && b.deps.DeadLetter != nil {
		now.after = queueAfterlife(&spec)
		now.settings.DeadLetters = now.after.there
		now.spills = now.settings.Refuse && now.after.there && spec.Args[argOverflow] == overflowSpill
	}
	if q.kept != nil {
		now.rules = q.kept.rules
		if kept, err := queueRetention(ns.name, &spec); err == nil { // else it keeps what its own arguments say
			now.rules = kept.rules
		}
	}
	return now
}

// alternate is the exchange for what x can't route; the default exchange has none.
func (ns *namespace) alternate(x *route.Exchange) string {
	if x.Name == "" {
		return ""
	}
	definition := ns.policies.Definition(metadata.PolicyTarget{Name: x.Name, Exchange: true})
	name, _ := governedArgs(onExchanges, x.Args, definition)[argAlternate].(string)
	return name
}
