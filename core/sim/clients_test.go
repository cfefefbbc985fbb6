package sim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/core"
)

// fanout is the exchange that some queues are bound to.
const fanout = "amq.fanout"

// clients are all that use the broker, and what they know.
type clients struct {
	queues     []*queue
	streams    []*queue // stream queues
	sessions   []*session
	publishers []*publisher
	changers   []*transaction
	retained   retained
}

// queue is a queue with its consumers.
type queue struct {
	spec      core.QueueSpec
	bound     bool // to fanout
	competing bool // may have several consumers at a time
	dest      *dest
	consumers []*consumer
	kept      *kept  // nil unless it is a stream queue
	rules     *rules // nil unless it has some
	key       string // of its binding to deadExchange, "" for none
	lasting   bool   // is never deleted
	used      time.Time
}

// held is a delivery that a client has not settled.
type held struct {
	*entry
	at core.Position
}

type consumer struct {
	q     *queue
	c     *core.Consumer
	limit *core.Limit
	held  []held
	awake bool // notified since Next gave nothing

	unlimited bool
}

// newClients makes the clients, none of them connected.
func (w *world) newClients() {
	for i, durability := range []string{"", "fsync", "os", "memory", ""} {
		q := &queue{spec: core.QueueSpec{Name: fmt.Sprint("q", i), Durable: i < 4}, bound: i%2 == 0, competing: i == 1}
		if durability != "" {
			q.spec.Args = map[string]any{"x-durability": durability}
		}
		w.clients.queues = append(w.clients.queues, q)
	}
	w.newSpecials()
	w.newStreams()
	for i := range 3 {
		s := &session{client: fmt.Sprint("s", i), filters: map[string]bool{}, deleted: map[uint32]bool{}}
		if i < 2 {
			s.expiry = time.Hour
		}
		w.clients.sessions = append(w.clients.sessions, s)
	}
	for i := range 3 {
		w.clients.publishers = append(w.clients.publishers, &publisher{name: fmt.Sprint("p", i)})
	}
	for i := range 2 {
		w.clients.changers = append(w.clients.changers, &transaction{p: &publisher{name: fmt.Sprint("x", i)}})
	}
	w.clients.retained.sure = noValue
}

// ended notes that the broker is gone and all connections with it.
func (c *clients) ended() {
	for _, q := range c.all() {
		q.consumers = nil
		if !q.spec.Durable {
			q.dest = nil
		}
	}
	for _, s := range c.sessions {
		s.ended()
	}
	for _, p := range c.publishers {
		p.p, p.pending = nil, nil
	}
	for _, x := range c.changers {
		x.lost()
	}
}

// reconnect checks that what is durable is there again.
func (w *world) reconnect() {
	for _, q := range w.clients.all() {
		if q.dest == nil {
			continue
		}
		if q.rules != nil && q.rules.term > 0 {
			w.ask(q, q.used.Add(q.rules.term))
			continue
		}
		if _, err := w.CheckQueue(namespaceName, q.spec.Name, ""); err != nil {
			w.complain("queue %s: %v", q.spec.Name, err)
		}
	}
}

// promise is what a confirm of a queue's message means.
func (w *world) promise(name string) level {
	if name == "" {
		name = w.cfg.Durability
	}
	return map[string]level{"memory": inMemory, "os": inSystem, "fsync": onDisk}[name]
}

// declare makes the queue, and binds it.
func (w *world) declare(q *queue) {
	w.lapse(q)
	if q.dest != nil {
		return
	}
	_, err := w.DeclareQueue(context.Background(), namespaceName, q.spec)
	if w.unavailable("declare "+q.spec.Name, err) {
		return
	}
	durability, _ := q.spec.Args["x-durability"].(string)
	q.dest = newDest(q.spec.Name, q.spec.Durable, w.promise(durability))
	if !q.spec.Durable {
		q.dest.promise = min(w.promise(""), inSystem)
	}
	if q.kept != nil {
		q.dest.stream = true
		q.kept.at = map[*entry]core.Offset{}
	}
	q.dest.rules, q.used = q.rules, w.clock.now
	w.log("declare %s", q.spec.Name)
	w.bind(q)
}

// unavailable judges the error of an operation that needs the metadata store.
func (w *world) unavailable(what string, err error) bool {
	if w.store.away && errors.Is(err, core.ErrUnavailable) {
		w.log("%s: the metadata store is away", what)
		return true
	}
	return w.failed(what, err)
}

// remove deletes the queue: what it held is gone, and never comes again.
func (w *world) remove(q *queue) {
	if q.dest == nil || q.lasting {
		return
	}
	w.lostLetters(q.spec.Name, true)
	_, err := w.DeleteQueue(context.Background(), namespaceName, q.spec.Name, "", false, false)
	if w.unavailable("delete "+q.spec.Name, err) {
		return
	}
	w.log("delete %s", q.spec.Name)
	q.dest.loosen()
	q.dest, q.consumers = nil, nil
}

// get takes one message without a consumer, and settles it or gives it back.
func (w *world) get(q *queue) {
	if q.dest == nil || q.kept != nil || len(q.consumers) > 0 {
		return
	}
	q.used, q.dest.attended = w.clock.now, true
	d, getter, _, ok, err := w.Get(context.Background(), namespaceName, q.spec.Name, "", false)
	if w.failed("get", err) {
		w.heal()
		return
	}
	if !ok || w.down {
		return
	}
	var got []held
	w.took(q.dest, []core.Delivery{d}, &got)
	for _, h := range got {
		w.first(h.entry)
		if w.rng.IntN(3) == 0 {
			w.gaveBack(h.entry)
			getter.Settle(core.Requeue, h.at)
			continue
		}
		if w.rng.IntN(4) == 0 {
			w.discarded(h.entry)
			getter.Settle(core.Discard, h.at)
			continue
		}
		w.settled(h.entry)
		getter.Settle(core.Ack, h.at)
	}
}

// flood fills a queue with more references than one chunk of the index holds.
func (w *world) flood(p *publisher, q *queue) {
	if q.dest == nil {
		return
	}
	for range 300 + w.rng.IntN(300) {
		m := w.send(p.name, []*dest{q.dest})
		m.key = q.spec.Name
		x := core.Message{
			Format: core.FormatAMQP, QoS: 1, Key: []byte(q.spec.Name), Payload: strconv.AppendInt(nil, int64(m.id), 10),
		}
		w.publish(p, m, x, nil)
		if w.sick() {
			return
		}
	}
}

// purge empties the queue but for what is in flight.
func (w *world) purge(q *queue) {
	if q.dest == nil || q.kept != nil {
		return
	}
	q.dest.loosen()
	w.lostLetters(q.spec.Name, false)
	n, err := w.PurgeQueue(context.Background(), namespaceName, q.spec.Name, "")
	if !w.failed("purge "+q.spec.Name, err) {
		w.log("purge %s: %d", q.spec.Name, n)
	}
}

// consume attaches a consumer.
func (w *world) consume(q *queue) {
	if q.dest == nil || len(q.consumers) > 1 || len(q.consumers) == 1 && !q.competing {
		return
	}
	c := &consumer{q: q, limit: core.NewLimit(uint32(w.rng.IntN(12))), awake: true}
	var err error
	spec := core.ConsumeSpec{Queue: q.spec.Name, Limits: []*core.Limit{c.limit}, Notify: func() { c.awake = true }}
	if q.kept != nil {
		spec.Group, spec.Start = "g", core.StartFirst()
	}
	c.c, err = w.Consume(context.Background(), namespaceName, spec)
	if w.failed("consume "+q.spec.Name, err) {
		return
	}
	q.dest.unordered, q.dest.attended = q.dest.unordered || q.competing, true
	if len(q.consumers) == 0 {
		q.dest.since = w.clock.now
	}
	q.consumers = append(q.consumers, c)
	w.log("consume %s", q.spec.Name)
}

// cancel detaches a consumer and gives back what it held.
func (w *world) cancel(c *consumer) {
	if w.failed("cancel", c.c.Cancel(context.Background())) {
		return
	}
	w.log("cancel on %s, %d go back", c.q.spec.Name, len(c.held))
	for _, h := range c.held {
		w.gaveBack(h.entry)
		c.c.Settle(core.Requeue, h.at)
	}
	c.held, c.q.used = nil, w.clock.now
	c.q.consumers = slices.DeleteFunc(c.q.consumers, func(x *consumer) bool { return x == c })
}

// receive takes deliveries of a consumer, if it was told that there are some.
func (w *world) receive(c *consumer, limit int) int {
	if !c.awake {
		return 0
	}
	c.awake = false
	got, err := c.c.Next(nil, limit)
	if len(got) > 0 || err != nil {
		c.awake = true // Next has said nothing of the rest
	}
	w.took(c.q.dest, got, &c.held)
	if w.failed("receive", err) && !w.down {
		w.heal()
		w.cancel(c) // as the adapters do
	}
	return len(got)
}

// list is messages for the trace.
type list []byte

func (l *list) add(before string, m *message, after string) {
	*l = fmt.Appendf(*l, " %s%d%s", before, m.id, after)
}

// took judges deliveries and keeps them for settling.
func (w *world) took(d *dest, got []core.Delivery, keep *[]held) {
	if len(got) == 0 {
		return
	}
	var text list
	for i := range got {
		if e := w.delivered(d, &got[i]); e != nil {
			*keep = append(*keep, held{e, got[i].Position})
			text.add("", e.m, map[bool]string{true: "!"}[got[i].Redelivered])
		}
	}
	w.log("%s gets%s", d.name, text)
}

// settleSome settles some of what the consumer holds, in any order, or gives it back.
func (w *world) settleSome(c *consumer, all bool) {
	n := len(c.held)
	if !all {
		w.rng.Shuffle(n, func(i, j int) { c.held[i], c.held[j] = c.held[j], c.held[i] })
		n = w.rng.IntN(n + 1)
	}
	if n == 0 {
		return
	}
	var text list
	for _, h := range c.held[:n] {
		if !all && w.rng.IntN(8) == 0 {
			w.gaveBack(h.entry)
			c.c.Settle(core.Requeue, h.at)
			text.add("-", h.m, "")
			continue
		}
		if !all && w.rng.IntN(8) == 0 {
			w.discarded(h.entry)
			c.c.Settle(core.Discard, h.at)
			text.add("x", h.m, "")
			continue
		}
		w.settled(h.entry)
		c.c.Settle(core.Ack, h.at)
		text.add("", h.m, "")
	}
	w.log("%s settles%s", c.q.dest.name, text)
	c.held = slices.Delete(c.held, 0, n)
}
