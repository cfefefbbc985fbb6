package core

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// Commit makes all of the transaction take effect, and returns when that is as
// durable as it asks for; the transaction must not be used again. It waits for the
// log, and is not given up halfway. After ErrFull, a queue refused a message because it
// is full, and nothing has taken effect. After ErrStorage and ErrClosed it is not known
// whether it took effect; the next start finishes what had been decided.
func (t *Transaction) Commit() error {
	settled, err := t.commit()
	if err != nil {
		return t.p.b.storageError(err)
	}
	t.p.b.counters.settled.Add(uint64(settled))
	t.took()
	for _, do := range t.later {
		do()
	}
	return nil
}

// commit commits the parts, of which one decides: what lies in its shard is written
// once, and all else twice. Values are of one shard at the most.
func (t *Transaction) commit() (settled int, err error) {
	decides := t.decider()
	if decides < 0 {
		return 0, nil
	}
	for i := range t.parts {
		if err := t.setDeadlines(&t.parts[i]); err != nil {
			return 0, err
		}
	}
	release, err := t.reserve()
	if err != nil {
		return 0, err
	}
	defer release()
	from, c := t.p.b.shards[decides], &t.parts[decides].change
	targets := t.transfers(decides)
	done, err := from.Change(c)
	if err == nil {
		err = from.Await(done.LSN)
	}
	if err != nil {
		return 0, err
	}
	settled = done.Settled
	// Decided: the others get their parts all at once, and then are waited for.
	lsns := make([]record.LSN, len(targets))
	for i, target := range targets {
		part := &t.parts[target].change
		part.Of = from.TransferRef(done.Transfers + record.LSN(i))
		carried, e := t.p.b.shards[target].Change(part)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		lsns[i] = carried.LSN
		settled += carried.Settled
	}
	for i, target := range targets {
		if lsns[i] == 0 {
			continue
		}
		if e := finishTransfer(from, t.p.b.shards[target], done.Transfers+record.LSN(i), lsns[i]); e != nil {
			err = errors.Join(err, e)
		}
	}
	return settled, err
}

// decider is the part that decides, -1 when there is none: the one with values or held
// messages, which no other may have then, or the largest.
func (t *Transaction) decider() int {
	decides := -1
	for i := range t.parts {
		c := &t.parts[i].change
		switch {
		case c.Values.Len()+len(c.Fires)+c.Held.Len() > 0:
			return i
		case c.Messages.Len()+len(c.Settle) == 0:
		case decides < 0 || c.Messages.Size() > t.parts[decides].change.Messages.Size():
			decides = i
		}
	}
	return decides
}

// reserve takes room for all messages in queues that refuse what is too much, until
// release is called.
func (t *Transaction) reserve() (release func(), err error) {
	var all []*shard.Reservation
	release = func() {
		for _, r := range all {
			r.Release()
		}
	}
	for i := range t.parts {
		if !t.parts[i].refuses || t.moves != nil { // which took its room
			continue
		}
		r, err := t.p.b.shards[i].Reserve(&t.parts[i].change.Messages)
		if err != nil {
			release()
			return nil, err
		}
		all = append(all, r)
	}
	return release, nil
}

// setDeadlines gives the messages of a part the times at which they end in streams
// with times to live, which begin now.
func (t *Transaction) setDeadlines(of *part) error {
	if of.ttls == nil {
		return nil
	}
	var timed shard.Bodies
	for i := range of.change.Messages.Len() {
		var m record.Message
		if err := record.DecodeMessage(of.change.Messages.At(i), &m); err != nil {
			return err
		}
		m.Deadlines = t.p.deadlines(of.ttls[i], m.ExpireAt)
		timed.AddMessage(&m)
	}
	of.change.Messages = timed
	return nil
}

// transfers has the shard that decides tell of the other parts, and returns whose
// these are, in the order of their transfers.
func (t *Transaction) transfers(decides int) (targets []int) {
	for i := range t.parts {
		c := &t.parts[i].change
		if i == decides || c.Messages.Len()+len(c.Settle) == 0 {
			continue
		}
		transfer := record.Transfer{Target: uint32(i), Acks: t.p.b.shards[i].Acks(c.Settle)}
		for j := range c.Messages.Len() {
			transfer.Messages = append(transfer.Messages, c.Messages.At(j))
		}
		t.parts[decides].change.Transfers.AddTransfer(&transfer)
		targets = append(targets, i)
	}
	return targets
}

// finishTransfer waits until the target has a transfer for good, and tells the source.
func finishTransfer(source, target *shard.Shard, number, lsn record.LSN) error {
	if err := target.Await(lsn); err != nil {
		return err
	}
	return source.TransferDone(number)
}

// finishTransfers carries out, at a start, what was decided before it and is not
// done. Nobody is served before that, so nothing that a transfer settles is
// delivered again.
func (b *Broker) finishTransfers() error {
	if err := b.reachTransfers(); err != nil {
		return err
	}
	for i, source := range b.shards {
		for _, number := range source.OpenTransfers() {
			if err := b.resumeTransfer(source, number); err != nil {
				return fmt.Errorf("finish transfer %d of shard %d: %w", number, i, err)
			}
		}
	}
	return nil
}

// reachTransfers refuses a log that ends before a transfer of its own that has taken
// effect in another shard: it has lost its end, and would give the number to another
// transfer, which the other shard would take for the one that it has.
func (b *Broker) reachTransfers() error {
	for i, s := range b.shards {
		for source, number := range s.Transferred() {
			if uint64(source) >= uint64(len(b.shards)) {
				return fmt.Errorf("shard %d has a transfer of shard %d: %w", i, source, record.ErrCorrupt)
			}
			if end := b.begun[source]; number > end {
				return fmt.Errorf("log of shard %d ends at %d, shard %d has its transfer %d: %w", source, end, i, number, commitlog.ErrBehind)
			}
		}
	}
	return nil
}

func (b *Broker) resumeTransfer(source *shard.Shard, number record.LSN) error {
	t, err := source.Transfer(number)
	if err != nil {
		return err
	}
	if uint64(t.Target) >= uint64(len(b.shards)) {
		return fmt.Errorf("target %d: %w", t.Target, record.ErrCorrupt)
	}
	target := b.shards[t.Target]
	if err := b.makeStreams(target, &t); err != nil {
		return err
	}
	recounted := target.Recounted() > 0 && target.Recounted() == b.begun[t.Target]
	lsn, err := target.CarryOut(&t, source.TransferRef(number), recounted)
	if err != nil {
		return err
	}
	return finishTransfer(source, target, number, lsn)
}

// makeStreams makes the queues that the messages of a transfer are for where the metadata
// knows them and the log of the target does not yet: the transfer was decided in a sync
// that came before the one of a queue that had just been declared.
func (b *Broker) makeStreams(target *shard.Shard, t *record.Transfer) error {
	known := b.queuesOf(int(t.Target))
	for _, body := range t.Messages {
		var m record.Message
		if err := record.DecodeMessage(body, &m); err != nil {
			return fmt.Errorf("message of a transfer: %w", err)
		}
		for i := range m.NumStreams() {
			if info, is := known()[m.StreamAt(i)]; is {
				if err := target.CreateStream(info, true); err != nil {
					return b.storageError(err)
				}
			}
		}
	}
	return nil
}
