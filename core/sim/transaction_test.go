package sim_test

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/core"
)

// transaction is a client that publishes and settles in transactions, over all queues
// and topics and in all shards.
type transaction struct {
	p    *publisher
	t    *core.Transaction // nil while none is open
	pubs []pub
	acks []taken
}

// pub is a message that a transaction publishes.
type pub struct {
	m          *message
	topic      string // of one that sessions get
	persistent bool
	expireAt   int64
}

// taken is a delivery that a transaction settles.
type taken struct {
	held
	by      *consumer
	requeue bool
}

// useTransaction adds to an open transaction, begins one, or ends it.
func (w *world) useTransaction(x *transaction) {
	if x.t == nil {
		if !w.connect(x.p) {
			return
		}
		x.t = x.p.p.Begin()
	}
	for range w.rng.IntN(3) {
		w.publishIn(x)
	}
	for range w.rng.IntN(4) {
		w.settleIn(x)
	}
	switch n := w.rng.IntN(16); {
	case n < 7:
		w.commit(x)
	case n == 7:
		w.rollback(x)
	}
}

// publishIn publishes in a transaction, to queues or to a topic.
func (w *world) publishIn(x *transaction) {
	p := pub{persistent: true}
	var body core.Message
	if w.rng.IntN(100) < w.mqtt/2 {
		p.topic = topics[w.rng.IntN(len(topics))]
		body = core.Message{
			Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(p.topic), QoS: 1,
		}
		p.m = w.send(x.p.name+p.topic, w.subscribers(p.topic))
		p.m.reach(w.doubtful(), true)
	} else {
		var to []*dest
		body, to = w.toQueues()
		p.m, p.persistent = w.send(x.p.name, to), body.QoS > 0
		p.m.key, p.expireAt = string(body.Key), body.ExpireAt
	}
	body.Payload = w.payload(p.m)
	p.m.size, p.m.priority = len(body.Payload), body.Priority
	_, err := x.t.Publish(&body)
	if err == nil {
		w.log("%s adds %d to %s%s", x.p.name, p.m.id, body.Exchange, body.Key)
		x.pubs = append(x.pubs, p)
		return
	}
	p.m.refused = true
	if errors.Is(err, core.ErrPressure) || errors.Is(err, core.ErrLimit) {
		w.log("%s adds %d: %v", x.p.name, p.m.id, err)
		return
	}
	w.failed(x.p.name+" adds", err)
}

// settleIn settles some of what a consumer holds in a transaction.
func (w *world) settleIn(x *transaction) {
	queues := w.clients.all()
	q := queues[w.rng.IntN(len(queues))]
	if len(q.consumers) == 0 {
		return
	}
	c := q.consumers[w.rng.IntN(len(q.consumers))]
	if len(c.held) == 0 {
		return
	}
	n := 1 + w.rng.IntN(len(c.held))
	outcome := core.Ack
	if w.rng.IntN(6) == 0 {
		outcome = core.Requeue
	}
	var at []core.Position
	var text list
	for _, h := range c.held[:n] {
		at = append(at, h.at)
		text.add("", h.m, "")
	}
	err := x.t.Settle(c.c, outcome, at...)
	if errors.Is(err, core.ErrLimit) {
		return
	}
	if w.failed(x.p.name+" settles", err) {
		return
	}
	for _, h := range c.held[:n] {
		x.acks = append(x.acks, taken{held: h, by: c, requeue: outcome == core.Requeue})
	}
	c.held = slices.Delete(c.held, 0, n)
	w.log("%s is to settle%s of %s, outcome %d", x.p.name, text, q.spec.Name, outcome)
}

// commit commits a transaction. Sometimes the power goes within.
func (w *world) commit(x *transaction) {
	if x.t == nil {
		return
	}
	if w.fault == (fault{}) && w.rng.IntN(4) == 0 {
		w.fault.crashIn, w.fault.kill = 1+w.rng.IntN(12), w.rng.IntN(3) == 0
	}
	for _, p := range x.pubs {
		p.m.sent = w.clock.now
		w.place(p.m)
		w.limitLife(p.m, p.expireAt)
		if p.topic != "" { // who has subscribed since may have the same stream
			p.m.reach(w.subscribers(p.topic), true)
			p.m.reach(w.doubtful(), true)
		}
	}
	err := x.t.Commit()
	switch {
	case err == nil:
		w.log("%s commits", x.p.name)
		w.committed(x)
	case errors.Is(err, core.ErrFull) && !w.down:
		w.log("%s commits: %v", x.p.name, err)
		w.rollback(x)
	default:
		w.failed(x.p.name+" commits", err)
		w.inDoubt(x)
	}
	x.end()
	w.overflows()
}

// committed notes what took effect.
func (w *world) committed(x *transaction) {
	for _, p := range x.pubs {
		p.m.confirm(p.persistent)
	}
	for _, a := range x.acks {
		if a.requeue {
			w.gaveBack(a.entry)
			continue
		}
		w.settled(a.entry)
		a.final = a.final || a.dest.durable
	}
}

// rollback gives a transaction up: nobody gets what it was to publish, and what it was
// to settle goes back to its consumers.
func (w *world) rollback(x *transaction) {
	if x.t == nil {
		return
	}
	for _, p := range x.pubs {
		p.m.refused = true
	}
	for _, a := range x.acks {
		if slices.Contains(a.by.q.consumers, a.by) {
			a.by.held = append(a.by.held, a.held)
			continue
		}
		w.gaveBack(a.entry) // as after a cancel
		a.by.c.Settle(core.Requeue, a.at)
	}
	w.log("%s rolls back", x.p.name)
	x.end()
}

// end forgets the transaction that was open.
func (x *transaction) end() { x.t, x.pubs, x.acks = nil, nil, nil }

// lost notes that the broker is gone, and the transaction that was open with it.
func (x *transaction) lost() {
	for _, p := range x.pubs {
		p.m.refused = true
	}
	x.p.p, x.p.pending = nil, nil
	x.end()
}
