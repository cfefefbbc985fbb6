package sim_test

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/route"
)

// publisher publishes to queues, or to topics.
type publisher struct {
	name    string
	p       *core.Publisher
	pending []sent // not confirmed, by ascending number
}

type sent struct {
	seq        uint64
	m          *message
	persistent bool
	once       *once
}

// connect makes the broker's side of a publisher.
func (w *world) connect(p *publisher) bool {
	if p.p == nil {
		var err error
		if p.p, err = w.NewPublisher(namespaceName, nil, func() {}); w.failed("publisher", err) {
			p.p = nil
		}
	}
	return p.p != nil
}

// publishToQueues publishes to a queue by its name, or to all that are bound.
func (w *world) publishToQueues(p *publisher) {
	m, to := w.toQueues()
	sent := w.send(p.name, to)
	sent.key, sent.priority = string(m.Key), m.Priority
	w.publish(p, sent, m, nil)
}

// toQueues begins a message to a queue by its name, or to all that are bound.
func (w *world) toQueues() (m core.Message, to []*dest) {
	m = core.Message{Format: core.FormatAMQP, QoS: 1}
	queues := w.clients.all()
	if w.rng.IntN(3) == 0 {
		m.Exchange, m.Key = []byte(fanout), []byte(keys[w.rng.IntN(len(keys))])
		for _, q := range queues {
			if q.bound && q.dest != nil {
				to = append(to, q.dest)
			}
		}
	} else {
		q := queues[w.rng.IntN(len(queues))]
		m.Key = []byte(q.spec.Name)
		if q.dest != nil {
			to = append(to, q.dest)
		}
	}
	if w.rng.IntN(6) == 0 {
		m.QoS = 0
	}
	w.chooseEnd(&m)
	m.Priority, m.PriorityKnown = uint8(w.rng.IntN(6)), true
	return m, to
}

// topics are what MQTT publishers publish to.
var topics = []string{"t/a", "t/b", "u/b", "u/c"}

// publishToTopic publishes as an MQTT client does.
func (w *world) publishToTopic(p *publisher) {
	topic := topics[w.rng.IntN(len(topics))]
	m := core.Message{
		Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(topic), QoS: 1,
	}
	sent := w.send(p.name+topic, w.subscribers(topic))
	sent.reach(w.doubtful(), true)
	w.publish(p, sent, m, nil)
}

// doubtful are the sessions whose filters are not certain.
func (w *world) doubtful() (to []*dest) {
	for _, s := range w.clients.sessions {
		if s.doubt && s.dest != nil {
			to = append(to, s.dest)
		}
	}
	return to
}

// subscribers are the sessions with a filter that matches.
func (w *world) subscribers(topic string) (to []*dest) {
	for _, s := range w.clients.sessions {
		if s.doubt {
			continue
		}
		for filter := range s.filters {
			if route.MatchFilter(filter, topic) && !slices.Contains(to, s.dest) {
				to = append(to, s.dest)
			}
		}
	}
	return to
}

func (w *world) publish(p *publisher, m *message, x core.Message, o *once) {
	if !w.connect(p) {
		return
	}
	m.sent = w.clock.now
	w.place(m)
	w.limitLife(m, x.ExpireAt)
	if x.Payload == nil {
		x.Payload = w.payload(m)
	}
	m.size = len(x.Payload)
	got, err := p.p.Publish(&x)
	full := errors.Is(err, core.ErrFull)
	if full {
		w.tooMuch(m)
		err = nil
	}
	for _, e := range m.at {
		w.overflow(e.dest)
	}
	if errors.Is(err, core.ErrPressure) {
		m.refused = !m.retried
		w.log("%s publishes %d to %s%s: refused", p.name, m.id, x.Exchange, x.Key)
		return
	}
	if w.failed(fmt.Sprintf("%s publishes %d to %s%s", p.name, m.id, x.Exchange, x.Key), err) {
		m.unanswered()
		return
	}
	w.log("%s publishes %d (%d bytes) to %s%s", p.name, m.id, len(x.Payload), x.Exchange, x.Key)
	if e := m.refusing(); e != nil && !full {
		w.fits(e, true)
	}
	if m.refused {
		return
	}
	p.pending = append(p.pending, sent{got.Seq, m, x.QoS > 0, o})
}

// confirms takes the confirms that have come.
func (w *world) confirms(p *publisher) {
	if p.p == nil {
		return
	}
	n, err := p.p.Settled()
	done := 0
	for done < len(p.pending) && p.pending[done].seq <= n {
		s := p.pending[done]
		s.m.confirm(s.persistent)
		w.clients.retained.confirm(s.m.id)
		if s.once != nil {
			s.once.confirmed = true
		}
		done++
	}
	if done > 0 {
		w.log("%s has confirms up to %d", p.name, p.pending[done-1].m.id)
	}
	p.pending = slices.Delete(p.pending, 0, done)
	w.failed("confirms", err)
}
