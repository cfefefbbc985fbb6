package amqp

import (
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// acknowledge settles a delivery, or with multiple all up to it. The engine
// learns of it at the end of the burst, together with the others.
func (ch *channel) acknowledge(tag uint64, multiple bool, outcome core.Outcome) error {
	o := ch.c.out
	o.mu.Lock()
	wasFull := ch.full()
	taken, ok := ch.unacked.take(ch.taken[:0], tag, multiple)
	resume := wasFull && !ch.full()
	if outcome == core.Ack {
		ch.counts.acked += uint64(len(taken))
	}
	o.mu.Unlock()
	ch.taken = taken
	if !ok {
		return refuse(codePreconditionFailed, "unknown delivery tag %d", tag)
	}
	ch.settleTaken(outcome)
	if resume {
		ch.resume()
	}
	return nil
}

// settleTaken passes on what was taken from unacked.
func (ch *channel) settleTaken(outcome core.Outcome) {
	for _, d := range ch.taken {
		ch.c.settlements.add(outcome, d)
	}
	if ch.globalPrefetch > 0 && len(ch.taken) > 0 {
		ch.c.settlements.kick(ch)
	}
	ch.forgetTaken()
}

// full tells whether the channel has as many unacknowledged deliveries as it
// may. The output's lock is held.
func (ch *channel) full() bool { return ch.unacked.len() >= ch.c.srv.cfg.MaxUnacked }

// resume has the writer look at all consumers again.
func (ch *channel) resume() {
	for _, k := range ch.consumerList() {
		ch.c.out.ready.add(k)
	}
}

// kick has the engine look at all consumers again, after the shared limit
// grew or deliveries that it counts were settled.
func (ch *channel) kick() {
	for _, k := range ch.consumerList() {
		k.engine.Kick()
	}
}

func (ch *channel) consumerList() []*consumer {
	ch.c.out.mu.Lock()
	defer ch.c.out.mu.Unlock()
	list := make([]*consumer, 0, len(ch.consumers))
	for _, k := range ch.consumers {
		list = append(list, k)
	}
	return list
}

// recover gives all unacknowledged deliveries back to their queues.
func (ch *channel) recover(requeue, answer bool) error {
	if !requeue {
		return refuse(codeNotImplemented, "requeue=false")
	}
	if answer {
		ch.reply(&wire.BasicRecoverOK{}) // before what then comes again
	}
	if err := ch.acknowledge(0, true, core.Requeue); err != nil {
		return err
	}
	ch.c.settle()
	return nil
}

// qos sets prefetch limits: of consumers to come, or of the whole channel.
func (ch *channel) qos(m *wire.BasicQos) error {
	if m.PrefetchSize != 0 {
		return refuse(codeNotImplemented, "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	ch.c.out.mu.Lock()
	if m.Global {
		ch.globalPrefetch = m.PrefetchCount
	} else {
		ch.prefetch = m.PrefetchCount
	}
	ch.c.out.mu.Unlock()
	ch.reply(&wire.BasicQosOK{}) // before what a larger limit lets come
	if m.Global && ch.limit != nil {
		ch.limit.Set(uint32(m.PrefetchCount))
		ch.kick()
	}
	return nil
}
