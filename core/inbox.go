package core

import (
	"sync"
	"sync/atomic"
)

// Inbox is a name that publishes to the default exchange reach without a queue:
// what comes is handed over at once, is never stored, and is lost when nobody
// takes it. Requesters get their answers so.
type Inbox struct {
	of   *inboxes
	name string
}

// inboxes are those of a namespace.
type inboxes struct {
	open atomic.Int32 // how many, so that publishers need not lock where there are none

	mu     sync.RWMutex
	byName map[string]func(m *Message) bool
}

// OpenInbox makes an inbox. deliver is called in the goroutine of whoever
// publishes: it must not block, must copy what it keeps, and returns false when
// it drops the message. ErrInUse: there is an inbox or a queue of that name.
func (b *Broker) OpenInbox(namespace, name string, deliver func(m *Message) bool) (*Inbox, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, err
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if ns.queues[name] != nil || !ns.inboxes.add(name, deliver) {
		return nil, &Error{Reason: ErrInUse, Kind: "queue", Name: name, Namespace: namespace}
	}
	return &Inbox{of: &ns.inboxes, name: name}, nil
}

// HasInbox tells whether there is an inbox of the name.
func (b *Broker) HasInbox(namespace, name string) bool {
	ns, err := b.namespace(namespace)
	return err == nil && ns.inboxes.find([]byte(name)) != nil
}

// Close ends the inbox. A delivery that has begun may still come.
func (in *Inbox) Close() {
	in.of.mu.Lock()
	defer in.of.mu.Unlock()
	if _, ok := in.of.byName[in.name]; ok {
		delete(in.of.byName, in.name)
		in.of.open.Add(-1)
	}
}

func (s *inboxes) add(name string, deliver func(m *Message) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byName[name]; ok {
		return false
	}
	if s.byName == nil {
		s.byName = map[string]func(m *Message) bool{}
	}
	s.byName[name] = deliver
	s.open.Add(1)
	return true
}

func (s *inboxes) find(name []byte) func(m *Message) bool {
	if s.open.Load() == 0 {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName[string(name)]
}

// inbox returns the inbox that the message's key names, if there is one.
func (p *Publisher) inbox(m *Message) func(m *Message) bool {
	if len(m.Exchange) > 0 {
		return nil
	}
	return p.ns.inboxes.find(m.Key)
}

// answer hands over a message that goes to an inbox alone.
func (p *Publisher) answer(m *Message, inbox func(m *Message) bool) (routed bool) {
	if p.replies == nil {
		p.replies = p.ns.exchanges.of("").of(p.number)
	}
	routed = inbox(m)
	p.counts.published.Add(1)
	p.replies.published.Add(1)
	if !routed {
		p.b.counters.dropped.Add(1)
		p.counts.unroutable.Add(1)
		return false
	}
	p.counts.live.Add(1)
	p.replies.routed.Add(1)
	return true
}
