package core

import "fmt"

// Draft tells of declarations and bindings, one after the other, whether they could be
// carried out: what is there and what the draft has taken counts, and nothing is made.
// It is of one namespace, which may be missing yet, and belongs to one goroutine.
// What changes meanwhile, or can't be stored, is met by who carries it out.
type Draft struct {
	b     *Broker
	there *namespace // nil when it is to be made
	taken *namespace // what the draft has taken
	room  *int       // how many queues it may have in all; nil for any
}

// NewDraft begins a draft. maxQueues is the limit that the namespace will have, nil for
// none.
func (b *Broker) NewDraft(namespace string, maxQueues *int) *Draft {
	there, err := b.namespace(namespace)
	if err != nil {
		there = nil
	}
	return &Draft{b: b, there: there, taken: newNamespace(namespace, 0), room: maxQueues}
}

// Exchange takes an exchange. Its errors are those of [Broker.DeclareExchange].
func (d *Draft) Exchange(spec ExchangeSpec) error {
	if d.there != nil {
		if known, err := d.there.checkExchange(&spec); known || err != nil {
			return err
		}
	}
	if known, err := d.taken.checkExchange(&spec); known || err != nil {
		return err
	}
	return d.taken.addExchange(spec)
}

// HasExchange tells whether the exchange is there or taken.
func (d *Draft) HasExchange(name string) bool {
	for _, ns := range []*namespace{d.there, d.taken} {
		if ns != nil && ns.hasExchange(name) {
			return true
		}
	}
	return false
}

func (ns *namespace) hasExchange(name string) bool {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	_, ok := ns.table.Exchange(name)
	return ok
}

// Queue takes a queue. Its errors are those of [Broker.DeclareQueue].
func (d *Draft) Queue(spec QueueSpec) error {
	if _, asked := spec.Args[argDeadExchange]; asked && d.b.deps.DeadLetter == nil {
		return fmt.Errorf("dead letters of queue '%s': %w", spec.Name, ErrUnsupported)
	}
	for _, ns := range []*namespace{d.there, d.taken} {
		if ns == nil {
			continue
		}
		if known, err := ns.checkQueue(&spec); known || err != nil {
			return err
		}
	}
	if _, err := queueDurability(d.taken.name, &spec); err != nil {
		return err
	}
	if _, err := queueRetention(d.taken.name, &spec); err != nil {
		return err
	}
	n := len(d.taken.queues)
	if d.there != nil {
		n += d.there.countQueues()
	}
	if d.room != nil && n >= *d.room {
		return tooManyQueues(d.taken.name, spec.Name, *d.room)
	}
	q := &declared{spec: spec, askedDurable: spec.Durable}
	q.target.queue = q
	d.taken.queues[spec.Name] = q
	return nil
}

func (ns *namespace) countQueues() int {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return len(ns.queues)
}

// Bind takes a binding. Its errors are those of [Broker.Bind].
func (d *Draft) Bind(spec BindingSpec) error {
	if !d.HasExchange(spec.Source) {
		return d.taken.notFound("exchange", spec.Source)
	}
	// A table checks bindings among its own, so those of the draft get what is there.
	for _, name := range []string{spec.Source, spec.Dest} {
		if name == spec.Dest && !spec.ToExchange || d.taken.hasExchange(name) || d.there == nil {
			continue
		}
		x, err := d.there.exchange(name)
		if err != nil {
			return err
		}
		if err := d.taken.addExchange(x); err != nil {
			return err
		}
	}
	if q := d.queueThere(spec.Dest); q != nil && !spec.ToExchange && d.taken.queues[spec.Dest] == nil {
		if err := d.taken.access(q, spec.Owner); err != nil {
			return err
		}
		stand := &declared{spec: q.spec}
		stand.target.queue = stand
		d.taken.queues[spec.Dest] = stand
		defer delete(d.taken.queues, spec.Dest) // it is none that the draft makes
	}
	_, err := d.taken.checkedBinding(&spec)
	return err
}

func (d *Draft) queueThere(name string) *declared {
	if d.there == nil {
		return nil
	}
	d.there.mu.RLock()
	defer d.there.mu.RUnlock()
	return d.there.queues[name]
}

// exchange returns the exchange's declaration or ErrNotFound.
func (ns *namespace) exchange(name string) (ExchangeSpec, error) {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	x, ok := ns.table.Exchange(name)
	if !ok {
		return ExchangeSpec{}, ns.notFound("exchange", name)
	}
	return exchangeSpec(x), nil
}
