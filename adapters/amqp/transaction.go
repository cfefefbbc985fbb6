package amqp

import (
	"bytes"
	"errors"
	"sync/atomic"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// transaction is what a channel has done since tx.select, or since the last commit
// or rollback. The engine bounds what it may hold, and with it what is held here.
type transaction struct {
	engine *core.Transaction
	// settled are the deliveries that the commit settles, and a rollback restores.
	settled []unackedDelivery
	// returns are mandatory messages that matched nothing: they go back at the
	// commit.
	returns []core.Message
	// acked and unroutable are counted at the commit.
	acked, unroutable int
}

// txCounts tell of a transaction to those who look after the broker. The reader
// changes them.
type txCounts struct{ publishes, acks atomic.Int64 }

// errNoTx is the answer to a commit or rollback on a channel without tx.select.
func errNoTx() error { return refuse(codePreconditionFailed, "channel is not transactional") }

// txSelect makes the channel a transactional one.
func (ch *channel) txSelect() error {
	if ch.publisher != nil && ch.publisher.confirming {
		return refuse(codePreconditionFailed, "cannot switch from confirm to tx mode")
	}
	if ch.publisher == nil {
		p, err := newPublisher(ch, false)
		if err != nil {
			return err
		}
		p.use()
	}
	if ch.tx == nil {
		ch.c.out.mu.Lock()
		ch.inTx = new(txCounts)
		ch.c.out.mu.Unlock()
		ch.beginTx()
	}
	ch.reply(&wire.TxSelectOK{})
	return nil
}

// beginTx begins a transaction with nothing in it.
func (ch *channel) beginTx() {
	ch.tx = &transaction{engine: ch.publisher.engine.Begin()}
	ch.inTx.publishes.Store(0)
	ch.inTx.acks.Store(0)
}

// publishInTx adds a publish to the transaction. It is routed now.
func (ch *channel) publishInTx(m *core.Message, mandatory bool) error {
	routed, err := ch.tx.engine.Publish(m)
	if err != nil {
		return ch.publishError(err)
	}
	ch.inTx.publishes.Add(1)
	if !mandatory && !routed {
		ch.tx.unroutable++
	}
	if mandatory && !routed {
		ch.tx.returns = append(ch.tx.returns, core.Message{
			Exchange: bytes.Clone(m.Exchange), Key: bytes.Clone(m.Key),
			Properties: bytes.Clone(m.Properties), Payload: bytes.Clone(m.Payload),
		})
	}
	return nil
}

// acknowledgeInTx is acknowledge for a channel with a transaction. What is settled
// counts for prefetch limits until the commit.
func (ch *channel) acknowledgeInTx(tag uint64, multiple bool, outcome core.Outcome) error {
	o := ch.c.out
	o.mu.Lock()
	wasFull, first := ch.full(), len(ch.tx.settled)
	settled, ok := ch.unacked.take(ch.tx.settled, tag, multiple)
	resume := wasFull && !ch.full()
	o.mu.Unlock()
	if !ok {
		return refuse(codePreconditionFailed, "unknown delivery tag %d", tag)
	}
	ch.inTx.acks.Add(int64(len(settled) - first))
	if outcome == core.Ack {
		ch.tx.acked += len(settled) - first
	}
	ch.tx.settled = settled // with an error they go back when the channel ends
	for _, d := range settled[first:] {
		if err := ch.tx.engine.Settle(d.settler.engine, outcome, d.pos); err != nil {
			return err
		}
	}
	if resume {
		ch.resume()
	}
	return nil
}

// txCommit makes the transaction take effect, and begins the next one. The answer
// goes out when all of it is durable.
func (ch *channel) txCommit() error {
	if ch.tx == nil {
		return errNoTx()
	}
	err := ch.tx.engine.Commit()
	if errors.Is(err, core.ErrFull) {
		return refuse(codePreconditionFailed, "partial tx completion")
	}
	if err != nil {
		return err
	}
	done := ch.tx
	ch.counts.committed.Add(uint64(ch.inTx.publishes.Load()))
	ch.counts.unroutable.Add(uint64(done.unroutable))
	ch.acknowledged(done.acked)
	ch.beginTx()
	for i := range done.returns {
		ch.giveBack(&done.returns[i])
	}
	if ch.globalPrefetch > 0 && len(done.settled) > 0 {
		ch.kick()
	}
	ch.reply(&wire.TxCommitOK{})
	return nil
}

// txRollback forgets the transaction: its publishes, and that deliveries were
// settled, which the client still has to do.
func (ch *channel) txRollback() error {
	if ch.tx == nil {
		return errNoTx()
	}
	o := ch.c.out
	o.mu.Lock()
	ch.unacked.restore(ch.tx.settled)
	o.mu.Unlock()
	ch.beginTx()
	ch.reply(&wire.TxRollbackOK{})
	return nil
}

// dropTx forgets the transaction of a channel that ends. What it would have settled
// is with what was taken from unacked.
func (ch *channel) dropTx() {
	if ch.tx == nil {
		return
	}
	ch.taken = append(ch.taken, ch.tx.settled...)
	ch.tx = nil
}
