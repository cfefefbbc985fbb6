package route

import (
	"fmt"
	"iter"
)

// Binding sends what is published to an exchange, and what its type matches by key
// or arguments, on to a destination or to another exchange. All fields together are
// its identity.
type Binding[D comparable] struct {
	Source string
	Key    string
	// Args must not be changed by the caller any more.
	Args map[string]any
	// Dest is the destination when ToExchange is "", else it is ignored.
	Dest D
	// DestName is Dest's name, by which exchanges choose that go by a hash. It is no
	// part of the identity.
	DestName string
	// ToExchange is the exchange that is bound to Source; "" means Dest is.
	ToExchange string
}

// binding is a Binding in the graph.
type binding[D comparable] struct {
	Binding[D]
	source     *exchange[D]
	target     *exchange[D] // nil for a binding to Dest
	rule       *headerRule  // for headers exchanges
	entry      uint32
	next, prev *binding[D] // in source.out
}

func (b *binding[D]) same(o *binding[D]) bool {
	return b.source == o.source && b.target == o.target && b.Key == o.Key && equalArgs(b.Args, o.Args)
}

// bindingList is the bindings from one exchange in the order they were made.
type bindingList[D comparable] struct{ first, last *binding[D] }

func (l *bindingList[D]) add(b *binding[D]) {
	b.prev = l.last
	if l.last == nil {
		l.first = b
	} else {
		l.last.next = b
	}
	l.last = b
}

func (l *bindingList[D]) remove(b *binding[D]) {
	if b.prev == nil {
		l.first = b.next
	} else {
		b.prev.next = b.next
	}
	if b.next == nil {
		l.last = b.prev
	} else {
		b.next.prev = b.prev
	}
	b.next, b.prev = nil, nil
}

// Check tells why Bind would refuse a binding: ErrNotFound for an exchange that does
// not exist, ErrInvalid for the default exchange or a key of more than MaxWords words on a
// topic exchange, a [RefusedError] for an x-match that a headers exchange does not know and
// for what an exchange that chooses can't take.
func (t *Table[D]) Check(b Binding[D]) error {
	_, err := t.resolve(b)
	return err
}

// resolve finds the exchanges of a binding and checks it.
func (t *Table[D]) resolve(spec Binding[D]) (*binding[D], error) {
	b := &binding[D]{Binding: spec, source: t.exchanges[spec.Source]}
	switch {
	case spec.Source == "":
		return nil, fmt.Errorf("bind to the default exchange: %w", ErrInvalid)
	case b.source == nil:
		return nil, fmt.Errorf("exchange '%s': %w", spec.Source, ErrNotFound)
	}
	if spec.ToExchange != "" {
		var none D
		b.Dest = none
		if b.target = t.exchanges[spec.ToExchange]; b.target == nil {
			return nil, fmt.Errorf("exchange '%s': %w", spec.ToExchange, ErrNotFound)
		}
	}
	switch b.source.kind {
	case Topic:
		if tooManyWords([]byte(spec.Key)) {
			return nil, fmt.Errorf("binding key of more than %d words: %w", MaxWords, ErrInvalid)
		}
	case Headers:
		rule, err := newHeaderRule(spec.Args)
		if err != nil {
			return nil, err
		}
		b.rule = rule
	default:
		if err := checkChoice(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Bind adds a binding, and tells whether it is new. A binding that Check refuses is not
// added.
func (t *Table[D]) Bind(spec Binding[D]) (added bool) {
	b, err := t.resolve(spec)
	if err != nil {
		return false
	}
	p := place[D]{source: b.source, key: b.Key}
	if b.source.root != 0 {
		p.node = b.source.root
		for kind, word := range keyEdges(b.Key) {
			p.node = t.tree.child(p.node, kind, []byte(word))
		}
	}
	made := entry[D]{dest: b.Dest, binding: b, node: p.node}
	if t.find(p, &made) != 0 {
		return false
	}
	b.entry = t.insert(p, made)
	b.source.out.add(b)
	if chooses(b.source.kind) {
		b.source.join(b)
	}
	return true
}

// Unbind removes a binding and tells whether it was there. autoDeleted is its source
// if that is an auto-delete exchange and has lost its last binding: the caller then
// removes the exchange.
func (t *Table[D]) Unbind(spec Binding[D]) (removed bool, autoDeleted []string) {
	b, err := t.resolve(spec)
	if err != nil {
		return false, nil
	}
	p := place[D]{source: b.source, key: b.Key}
	if b.source.root != 0 {
		if p.node = t.lookup(b.source.root, keyEdges(b.Key)); p.node == 0 {
			return false, nil
		}
	}
	i := t.find(p, &entry[D]{dest: b.Dest, binding: b, node: p.node})
	if i == 0 {
		return false, nil
	}
	if name, ok := t.drop(i); ok {
		autoDeleted = []string{name}
	}
	return true, autoDeleted
}

// lookup returns the node at the end of a way from root, or 0.
func (t *Table[D]) lookup(root uint32, way iter.Seq2[uint32, string]) uint32 {
	node := root
	for kind, word := range way {
		if node = t.tree.find(node, kind, []byte(word)); node == 0 {
			return 0
		}
	}
	return node
}

// RemoveDest removes all bindings and filters of a destination; RemoveQueue is for
// its implicit binding. It returns the auto-delete exchanges that lost their last
// binding with it: the caller removes them.
func (t *Table[D]) RemoveDest(d D) (autoDeleted []string) {
	return t.dropAll(t.dests[d])
}

// Bindings yields the bindings from an exchange, oldest first, without filters and
// without the implicit bindings of the default exchange. The table must not change
// meanwhile.
func (t *Table[D]) Bindings(source string) iter.Seq[Binding[D]] {
	return func(yield func(Binding[D]) bool) {
		x := t.exchanges[source]
		if x == nil {
			return
		}
		for b := x.out.first; b != nil; b = b.next {
			if !yield(b.Binding) {
				return
			}
		}
	}
}

// AddQueue binds a destination to the default exchange by the queue's name, in place of
// an earlier one of that name.
func (t *Table[D]) AddQueue(name string, d D) { t.queues[name] = d }

// RemoveQueue removes what AddQueue added.
func (t *Table[D]) RemoveQueue(name string) { delete(t.queues, name) }

// BindFilter binds a destination to amq.topic by an MQTT filter, and tells whether
// that is new. A filter that ValidFilter refuses is not bound.
func (t *Table[D]) BindFilter(filter string, d D) (added bool) {
	if filterFault(filter) != "" {
		return false
	}
	p := place[D]{source: t.topic, node: t.topic.root}
	for kind, word := range filterEdges(filter) {
		p.node = t.tree.child(p.node, kind, []byte(word))
	}
	made := entry[D]{dest: d, node: p.node}
	if t.find(p, &made) != 0 {
		return false
	}
	t.insert(p, made)
	return true
}

// UnbindFilter removes what BindFilter added, and tells whether it was there.
func (t *Table[D]) UnbindFilter(filter string, d D) (removed bool) {
	if filterFault(filter) != "" {
		return false
	}
	p := place[D]{source: t.topic, node: t.lookup(t.topic.root, filterEdges(filter))}
	if p.node == 0 {
		return false
	}
	i := t.find(p, &entry[D]{dest: d, node: p.node})
	if i == 0 {
		return false
	}
	t.drop(i)
	return true
}
