package route

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// The types of exchange that a Table routes by.
const (
	Direct  = "direct"
	Fanout  = "fanout"
	Topic   = "topic"
	Headers = "headers"

	// ConsistentHash and the others pick one destination, see spread.go.
	ConsistentHash = "x-consistent-hash"
	ModulusHash    = "x-modulus-hash"
	Random         = "x-random"
	LocalRandom    = "x-local-random"

	// Delayed is the type of exchanges that programs for RabbitMQ's plugin declare for
	// messages to be delivered later, which all exchanges take here. Such a one routes as
	// one of the type that its argument DelayedType names.
	Delayed     = "x-delayed-message"
	DelayedType = "x-delayed-type"
)

// Types returns the types of exchange that a Table routes by, sorted.
func Types() []string {
	return []string{Direct, Fanout, Headers, Topic, ConsistentHash, Delayed, LocalRandom, ModulusHash, Random}
}

// Kind is the type that an exchange routes as, which its arguments tell when it is
// Delayed; "" when there is no such type.
func Kind(typ string, args map[string]any) string {
	if typ == Delayed {
		typ, _ = args[DelayedType].(string)
	}
	if typ == Delayed || !KnownType(typ) {
		return ""
	}
	return typ
}

// Arguments of a consistent hash: it goes by this header or this property (one of
// message_id, correlation_id, timestamp) and not by the routing key.
const (
	HashHeader   = "hash-header"
	HashProperty = "hash-property"
)

// TopicExchange is the predeclared exchange that MQTT filters are bound to.
const TopicExchange = "amq.topic"

// Exchange is a place to publish to.
type Exchange struct {
	Name       string
	Type       string // one of the constants above
	Durable    bool
	AutoDelete bool // to be removed when its last binding goes, see [Table.Unbind]
	Internal   bool // takes messages only from other exchanges; the caller of Match checks it
	// Args are kept for the caller, who must not change them any more.
	Args map[string]any
	// Alternate is the exchange that gets what matched nothing here; "" means none.
	// It need not exist.
	Alternate string
}

// KnownType tells whether a Table can have exchanges of the type.
func KnownType(typ string) bool {
	return slices.Contains(Types(), typ)
}

// predeclared returns the exchanges that every namespace has.
func predeclared() []Exchange {
	return []Exchange{
		{Name: "", Type: Direct, Durable: true},
		{Name: "amq.direct", Type: Direct, Durable: true},
		{Name: "amq.fanout", Type: Fanout, Durable: true},
		{Name: TopicExchange, Type: Topic, Durable: true},
		{Name: "amq.headers", Type: Headers, Durable: true},
		{Name: "amq.match", Type: Headers, Durable: true},
		{Name: "amq.rabbitmq.trace", Type: Topic, Durable: true, Internal: true},
	}
}

// exchange is an exchange with its bindings. Which of the last four fields are used
// depends on its type.
type exchange[D comparable] struct {
	Exchange
	kind  string            // see Kind
	fixed bool              // predeclared: stays
	out   bindingList[D]    // bindings from it, filters not among them
	in    uint32            // newest entry whose destination it is
	keys  map[string]uint32 // direct: newest entry by key
	list  uint32            // fanout, headers and those that choose: newest entry
	root  uint32            // topic: root in Table.tree
	// members are the destinations to choose from, sorted.
	members []member
}

// AddExchange adds an exchange. One that exists keeps its type and bindings and gets
// the other properties; another type is ErrInvalid, as is an unknown one.
func (t *Table[D]) AddExchange(spec Exchange) error {
	if Kind(spec.Type, spec.Args) == "" {
		return fmt.Errorf("exchange type '%s': %w", spec.Type, ErrInvalid)
	}
	if x := t.exchanges[spec.Name]; x != nil {
		if x.Type != spec.Type {
			return fmt.Errorf("type '%s' for exchange '%s' of type '%s': %w", spec.Type, spec.Name, x.Type, ErrInvalid)
		}
		x.Exchange = spec
		return nil
	}
	t.exchanges[spec.Name] = t.newExchange(spec)
	return nil
}

func (t *Table[D]) newExchange(spec Exchange) *exchange[D] {
	x := &exchange[D]{Exchange: spec, kind: Kind(spec.Type, spec.Args)}
	switch x.kind {
	case Direct:
		x.keys = make(map[string]uint32)
	case Topic:
		x.root = t.tree.newRoot()
	}
	return x
}

// RemoveExchange removes an exchange with all bindings from and to it. It returns the
// auto-delete exchanges that lost their last binding with it: the caller removes them
// in turn. A missing or predeclared exchange is left alone.
func (t *Table[D]) RemoveExchange(name string) (autoDeleted []string) {
	x := t.exchanges[name]
	if x == nil || x.fixed {
		return nil
	}
	autoDeleted = t.dropAll(x.in)
	for b := x.out.first; b != nil; b = x.out.first {
		t.drop(b.entry)
	}
	if x.root != 0 {
		t.tree.nodes.release(x.root)
	}
	delete(t.exchanges, name)
	// A binding from the exchange to itself makes it name itself.
	return slices.DeleteFunc(autoDeleted, func(n string) bool { return n == name })
}

// Exchange returns the exchange's declaration.
func (t *Table[D]) Exchange(name string) (Exchange, bool) {
	x := t.exchanges[name]
	if x == nil {
		return Exchange{}, false
	}
	return x.Exchange, true
}

// Exchanges yields all exchanges by name, the predeclared ones among them.
func (t *Table[D]) Exchanges() iter.Seq[Exchange] {
	return func(yield func(Exchange) bool) {
		for _, name := range slices.Sorted(maps.Keys(t.exchanges)) {
			if !yield(t.exchanges[name].Exchange) {
				return
			}
		}
	}
}

// HasBindingsFrom tells whether anything is bound to the exchange. MQTT filters and
// the implicit bindings of the default exchange do not count.
func (t *Table[D]) HasBindingsFrom(name string) bool {
	x := t.exchanges[name]
	return x != nil && x.out.first != nil
}
