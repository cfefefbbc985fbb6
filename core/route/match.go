package route

import (
	"fmt"
	"slices"
	"strings"
)

// Result tells about a match beside its destinations.
type Result struct {
	// Skipped is how many MQTT filters matched by form but were left out, since the
	// key is no legal topic: too many levels, a wildcard or NUL in it, no UTF-8, or empty.
	Skipped int
	// PerMessage tells that another publish to the same exchange with the same key may
	// go elsewhere: an exchange looked at headers or properties, or chose by chance.
	PerMessage bool
	// Visited is how many trie nodes were looked at: the cost of the match.
	Visited int
}

// match is the state of one call of [Table.Match].
type match[D comparable] struct {
	table   *Table[D]
	publish Publish
	key     []byte // of the publish, the one that is matched now
	dst     []D
	result  Result
	hit     bool // the exchange at hand matched something

	reached seen[*exchange[D]]
	queue   queue[*exchange[D]] // exchanges reached and not asked yet
	several seen[D]             // destinations found that can be found again

	topicKnown, isTopic bool // whether key is a legal topic
}

// Publish is what is routed. Only Exchange and Key are needed. Nothing of it is kept.
type Publish struct {
	Exchange string
	// Key is the routing key in AMQP form, see [SwapTopic].
	Key []byte
	// More are further routing keys: each exchange matches all of them. Those that
	// choose go by Key alone.
	More [][]byte
	// Headers looks up a header of the message.
	Headers HeaderFunc
	// Property looks up a property of the message by its name in AMQP.
	Property HeaderFunc
	// Chance is a number that was drawn for this publish.
	Chance uint64
}

// Match is Route of a publish with one key.
func (t *Table[D]) Match(name string, key []byte, headers HeaderFunc, dst []D) ([]D, Result, error) {
	return t.Route(&Publish{Exchange: name, Key: key, Headers: headers}, dst)
}

// Route appends to dst the destinations that a publish reaches, each once. Other
// exchanges are reached through bindings, and the alternate exchange of one that
// matched nothing; each is asked once. ErrNotFound: no such exchange; ErrInvalid: more
// than MaxWords words. With enough room in dst a publish that reaches few exchanges
// and few destinations with several bindings allocates nothing.
func (t *Table[D]) Route(p *Publish, dst []D) ([]D, Result, error) {
	start := t.exchanges[p.Exchange]
	if start == nil {
		return dst, Result{}, fmt.Errorf("exchange '%s': %w", strings.Clone(p.Exchange), ErrNotFound)
	}
	if tooManyWords(p.Key) || slices.ContainsFunc(p.More, tooManyWords) {
		return dst, Result{}, fmt.Errorf("routing key of more than %d words: %w", MaxWords, ErrInvalid)
	}
	m := match[D]{table: t, publish: *p, key: p.Key, dst: dst}
	m.reach(start)
	for x, ok := m.queue.take(); ok; x, ok = m.queue.take() {
		m.ask(x)
	}
	return m.dst, m.result, nil
}

// reach puts an exchange on the queue unless it has been there.
func (m *match[D]) reach(x *exchange[D]) {
	if m.reached.add(x) {
		m.queue.add(x)
	}
}

// ask takes what the exchange matches, or else turns to its alternate.
func (m *match[D]) ask(x *exchange[D]) {
	m.hit = false
	switch x.kind {
	case Direct, Topic:
		m.askKey(x, m.publish.Key)
		for _, key := range m.publish.More {
			m.askKey(x, key)
		}
	case Fanout:
		m.take(x.list, true)
	case Headers:
		m.takeHeaders(x.list)
	default:
		m.choose(x)
	}
	if m.hit || x.Alternate == "" {
		return
	}
	if alternate := m.table.exchanges[x.Alternate]; alternate != nil {
		m.reach(alternate)
	}
}

// askKey takes what the exchange matches by one key.
func (m *match[D]) askKey(x *exchange[D], key []byte) {
	if len(m.publish.More) > 0 {
		m.key, m.topicKnown = key, false
	}
	switch {
	case x.Name == "":
		m.takeQueue()
	case x.kind == Direct:
		m.take(x.keys[string(key)], true)
	default:
		m.walkTopic(x.root)
	}
}

// takeQueue takes the queue that has the key as its name. Nothing leads to the default
// exchange, so no other exchange has found the queue; another key may have.
func (m *match[D]) takeQueue() {
	if d, ok := m.table.queues[string(m.key)]; ok && (len(m.publish.More) == 0 || m.several.add(d)) {
		m.dst = append(m.dst, d)
	}
}

// takeHeaders takes those of a list whose rules the message's headers satisfy.
func (m *match[D]) takeHeaders(i uint32) {
	m.result.PerMessage = m.result.PerMessage || i != 0
	for i != 0 {
		e := m.table.entries.at(i)
		if e.binding.rule.match(m.publish.Headers) {
			m.takeEntry(e)
		}
		i = e.next
	}
}

// take takes a whole list. Without filters it passes over those of MQTT.
func (m *match[D]) take(i uint32, filters bool) {
	for i != 0 {
		e := m.table.entries.at(i)
		switch {
		case e.binding != nil:
			m.takeEntry(e)
		case !filters:
		case m.legalTopic():
			m.takeEntry(e)
		default:
			m.result.Skipped++
		}
		i = e.next
	}
}

func (m *match[D]) takeEntry(e *entry[D]) {
	m.hit = true
	switch {
	case e.toExchange():
		m.reach(e.binding.target)
	case e.alone() && len(m.publish.More) == 0 || m.several.add(e.dest):
		m.dst = append(m.dst, e.dest)
	}
}

// legalTopic tells whether the key is that of a legal MQTT topic.
func (m *match[D]) legalTopic() bool {
	if !m.topicKnown {
		m.topicKnown, m.isTopic = true, topicFault(m.key, '.') == ""
	}
	return m.isTopic
}
