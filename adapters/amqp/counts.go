package amqp

import (
	"sync/atomic"

	"github.com/tidegate/tidegate/core"
)

// counts is what a channel has done, for those who look after the broker.
type counts struct {
	// unroutable and committed are added to by the reader.
	unroutable atomic.Uint64
	committed  atomic.Uint64 // publishes of transactions

	// Guarded by the output's lock:
	published                            uint64 // by publishers that others took the place of
	confirmed, returned, acked           uint64
	delivered, deliveredNoAck            uint64
	got, gotNoAck, gotEmpty, redelivered uint64
}

// sent counts a delivery. The output's lock is held.
func (n *counts) sent(noAck, again bool) {
	if noAck {
		n.deliveredNoAck++
	} else {
		n.delivered++
	}
	if again {
		n.redelivered++
	}
}

// gave counts what basic.get got. The output's lock is held.
func (n *counts) gave(noAck, again bool) {
	if noAck {
		n.gotNoAck++
	} else {
		n.got++
	}
	if again {
		n.redelivered++
	}
}

// acknowledged counts deliveries that were acknowledged.
func (ch *channel) acknowledged(n int) {
	ch.c.out.mu.Lock()
	defer ch.c.out.mu.Unlock()
	ch.counts.acked += uint64(n)
}

// traffic is what the channel has done. The output's lock is held.
func (ch *channel) traffic() core.Traffic {
	n := &ch.counts
	t := core.Traffic{
		Published:  n.published + n.committed.Load(),
		Unroutable: n.unroutable.Load(), Returned: n.returned, Confirmed: n.confirmed,
		Delivered: n.delivered, DeliveredNoAck: n.deliveredNoAck,
		Got: n.got, GotNoAck: n.gotNoAck, GotEmpty: n.gotEmpty, Redelivered: n.redelivered, Acked: n.acked,
	}
	if p := ch.shown; p != nil {
		t.Published += p.last.Load()
	}
	return t
}
