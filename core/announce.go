package core

import (
	"bytes"
	"maps"
	"slices"
)

// Announce hands a message to the sessions of all namespaces that are online and have
// a filter that matches, from memory alone: it is never stored, no queue gets it, and it
// is counted nowhere. It is for what the broker tells of itself. One goroutine at a time.
func (b *Broker) Announce(m *Message) {
	told := *m
	told.QoS, told.Retain, told.Exchange, told.own = 0, false, []byte(TopicExchange), true
	b.mu.RLock()
	all := slices.Collect(maps.Values(b.namespaces))
	b.mu.RUnlock()
	for _, ns := range all {
		if !ns.hasFilters() {
			continue
		}
		p := &Publisher{b: b, ns: ns}
		pl, _ := p.makePlan(&told)
		if pl.err != nil {
			continue
		}
		for i := range pl.live0 {
			pl.live0[i].offer(&told)
		}
	}
}

// sysWord is the first word of the topics that only the broker publishes to.
const sysWord = "$SYS"

// forged tells that a message has a topic of the broker's own and is not from it. AMQP
// has no reserved routing keys, so queues may get it, and subscriptions do not. key is
// in the form of AMQP.
func (m *Message) forged(key []byte) bool {
	first, _, _ := bytes.Cut(key, []byte{'.'})
	return !m.own && string(first) == sysWord
}

func (ns *namespace) hasFilters() bool {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return len(ns.filters) > 0
}

// RetainedMessages is how many topics have a retained message.
func (b *Broker) RetainedMessages() (n int) {
	for _, s := range b.shards {
		n += s.RetainedTopics()
	}
	return n
}
