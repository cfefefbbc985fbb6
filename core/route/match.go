package route

import (
	"fmt"
	"strings"
)

// Result tells about a match beside its destinations.
type Result struct {
	// Skipped is how many MQTT filters matched by form but were left out, since the
	// key is no legal topic: too many levels, a wildcard or NUL in it, no UTF-8, or empty.
	Skipped int
	// Visited is how many trie nodes were looked at: the cost of the match.
	Visited int
}

// match is the state of one call of [Table.Match].
type match[D comparable] struct {
	table   *Table[D]
	key     []byte
	headers HeaderFunc
	dst     []D
	result  Result
	hit     bool // the exchange at hand matched something

	reached seen[*exchange[D]]
	queue   queue[*exchange[D]] // exchanges reached and not asked yet
	several seen[D]             // destinations found that have more than one entry

	topicKnown, isTopic bool // whether key is a legal topic
}

// Match appends to dst the destinations that a publish to the exchange of that name reaches, each
// once. key is in AMQP form, see [SwapTopic]; headers may be nil. Other exchanges are
// reached through bindings, and the alternate exchange of one that matched nothing;
// each is asked once. ErrNotFound: no such exchange; ErrInvalid: more than MaxWords words.
// With enough room in dst a publish that reaches few exchanges and few destinations
// with several bindings allocates nothing. Neither key nor name is kept.
func (t *Table[D]) Match(name string, key []byte, headers HeaderFunc, dst []D) ([]D, Result, error) {
	start := t.exchanges[name]
	if start == nil {
		return dst, Result{}, fmt.Errorf("exchange '%s': %w", strings.Clone(name), ErrNotFound)
	}
	if tooManyWords(key) {
		return dst, Result{}, fmt.Errorf("routing key of more than %d words: %w", MaxWords, ErrInvalid)
	}
	m := match[D]{table: t, key: key, headers: headers, dst: dst}
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
	switch {
	case x.Name == "":
		m.takeQueue()
	case x.Type == Direct:
		m.take(x.keys[string(m.key)], true)
	case x.Type == Fanout:
		m.take(x.list, true)
	case x.Type == Topic:
		m.walkTopic(x.root)
	case x.Type == Headers:
		m.takeHeaders(x.list)
	}
	if m.hit || x.Alternate == "" {
		return
	}
	if alternate := m.table.exchanges[x.Alternate]; alternate != nil {
		m.reach(alternate)
	}
}

// takeQueue takes the queue that has the key as its name. Nothing leads to the default
// exchange, so no other exchange has found the queue.
func (m *match[D]) takeQueue() {
	if d, ok := m.table.queues[string(m.key)]; ok {
		m.dst = append(m.dst, d)
	}
}

// takeHeaders takes those of a list whose rules the message's headers satisfy.
func (m *match[D]) takeHeaders(i uint32) {
	for i != 0 {
		e := m.table.entries.at(i)
		if e.binding.rule.match(m.headers) {
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
	case e.alone() || m.several.add(e.dest):
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
