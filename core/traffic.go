package core

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Traffic counts what went through a namespace, an exchange or a queue since the
// broker started, or since it was made. What does not apply to a thing is 0: an
// exchange has Published and Routed alone, a queue neither Routed nor what follows it
// up to Confirmed.
type Traffic struct {
	// Published are messages of clients; of a queue all that it took, dead letters too.
	Published uint64
	// Routed are the queues and MQTT filters that an exchange's messages went to, a
	// message for each of them.
	Routed uint64
	// Unroutable are messages that matched nothing, Returned those of them that their
	// publishers got back.
	Unroutable, Returned uint64
	// Confirmed are publishes whose confirms went out.
	Confirmed uint64
	// Delivered and DeliveredNoAck went to consumers and sessions, with and without
	// an acknowledgement to come; Got and GotNoAck to those who asked for one message,
	// GotEmpty was the answer to those for whom there was none.
	Delivered, DeliveredNoAck, Got, GotNoAck, GotEmpty uint64
	// Redelivered are those of them that were sent before.
	Redelivered uint64
	// Acked are deliveries that were acknowledged. What was rejected is not.
	Acked uint64
	// Used is when a message last came to a queue or left it; zero when none has.
	Used time.Time
}

// stripe is the publishes of some publishers, in a cache line of its own: publishers
// share as few as they can, since each of their messages is counted.
type stripe struct {
	published, routed, unroutable, returned, confirmed, live atomic.Uint64

	_ [16]byte
}

// tally is the counters of publishes of a namespace or of an exchange, a stripe for
// some of its publishers each.
type tally []stripe

// maxStripes bounds the memory of a tally.
const maxStripes = 8

func newTally() tally { return make(tally, min(runtime.GOMAXPROCS(0), maxStripes)) }

// of returns the stripe of a publisher by its number.
func (t tally) of(publisher uint32) *stripe { return &t[int(publisher)%len(t)] }

func (t tally) addTo(sum *Traffic) {
	for i := range t {
		s := &t[i]
		sum.Published += s.published.Load()
		sum.Routed += s.routed.Load()
		sum.Unroutable += s.unroutable.Load()
		sum.Returned += s.returned.Load()
		sum.Confirmed += s.confirmed.Load()
		sum.DeliveredNoAck += s.live.Load()
	}
}

// tallies are those of the exchanges of a namespace, made when the first message is
// routed by them.
type tallies struct {
	mu     sync.RWMutex
	byName map[string]tally
}

// of returns the tally of an exchange.
func (ts *tallies) of(exchange string) tally {
	ts.mu.RLock()
	t := ts.byName[exchange]
	ts.mu.RUnlock()
	if t != nil {
		return t
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t = ts.byName[exchange]; t == nil {
		if ts.byName == nil {
			ts.byName = map[string]tally{}
		}
		t = newTally()
		ts.byName[exchange] = t
	}
	return t
}

// sum returns what an exchange has counted.
func (ts *tallies) sum(exchange string) (sum Traffic) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	ts.byName[exchange].addTo(&sum)
	return sum
}

// forget ends the tally of an exchange that is deleted.
func (ts *tallies) forget(exchange string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.byName, exchange)
}

// outflow counts what leaves a queue, or the streams of a namespace. It is added to once
// for each batch of deliveries or settlements.
type outflow struct {
	delivered, noAck, got, gotNoAck, gotEmpty, redelivered, acked atomic.Uint64
	used                                                          atomic.Int64 // milliseconds since 1970
}

func (o *outflow) addTo(sum *Traffic) {
	sum.Delivered += o.delivered.Load()
	sum.DeliveredNoAck += o.noAck.Load()
	sum.Got += o.got.Load()
	sum.GotNoAck += o.gotNoAck.Load()
	sum.GotEmpty += o.gotEmpty.Load()
	sum.Redelivered += o.redelivered.Load()
	sum.Acked += o.acked.Load()
	sum.use(o.used.Load())
}

// use notes a time in milliseconds at which a queue was used, 0 for never.
func (t *Traffic) use(at int64) {
	if at > 0 && time.UnixMilli(at).After(t.Used) {
		t.Used = time.UnixMilli(at)
	}
}

// outflow returns the queue's, which is made when the first message leaves it.
func (q *declared) outflow() *outflow {
	o := q.left.Load()
	if o == nil {
		q.left.CompareAndSwap(nil, new(outflow))
		o = q.left.Load()
	}
	return o
}

// delivers counts deliveries to a consumer of the queue.
func (ns *namespace) delivers(q *declared, batch []Delivery, noAck bool, now int64) {
	if len(batch) == 0 {
		return
	}
	again := redelivered(batch)
	for _, o := range [...]*outflow{q.outflow(), &ns.left} {
		n := &o.delivered
		if noAck {
			n = &o.noAck
		}
		n.Add(uint64(len(batch)))
		if again > 0 {
			o.redelivered.Add(again)
		}
	}
	q.outflow().used.Store(now)
}

func redelivered(batch []Delivery) (n uint64) {
	for i := range batch {
		if batch[i].Redelivered {
			n++
		}
	}
	return n
}

// gives counts a message that somebody asked for.
func (ns *namespace) gives(q *declared, d *Delivery, noAck bool, now int64) {
	for _, o := range [...]*outflow{q.outflow(), &ns.left} {
		if noAck {
			o.gotNoAck.Add(1)
		} else {
			o.got.Add(1)
		}
		if d.Redelivered {
			o.redelivered.Add(1)
		}
	}
	q.outflow().used.Store(now)
}

// givesNone counts that somebody asked for a message and there was none.
func (ns *namespace) givesNone(q *declared) {
	q.outflow().gotEmpty.Add(1)
	ns.left.gotEmpty.Add(1)
}

// acks counts acknowledgements of deliveries of the queue.
func (ns *namespace) acks(q *declared, n uint64) {
	if n > 0 {
		q.outflow().acked.Add(n)
		ns.left.acked.Add(n)
	}
}

// traffic is what went through the namespace.
func (ns *namespace) traffic() (sum Traffic) {
	ns.came.addTo(&sum)
	ns.left.addTo(&sum)
	return sum
}

// Confirmed counts confirms of the publisher's messages that went to its client. It may
// be called from any goroutine.
func (p *Publisher) Confirmed(n uint64) { p.counts.confirmed.Add(n) }

// Returned counts a message that went back to the publisher's client.
func (p *Publisher) Returned() { p.counts.returned.Add(1) }

// NamespaceTraffic is what went through a namespace. ErrNotFound.
func (b *Broker) NamespaceTraffic(namespace string) (Traffic, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return Traffic{}, err
	}
	return ns.traffic(), nil
}

// ExchangeTraffic is what went through an exchange; nothing when it is not there.
// ErrNotFound: no such namespace.
func (b *Broker) ExchangeTraffic(namespace, exchange string) (Traffic, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return Traffic{}, err
	}
	return ns.exchanges.sum(exchange), nil
}
