package shard

import (
	"github.com/tidegate/tidegate/core/record"
)

// Change is what takes effect in a shard at once: it goes into one batch, which
// the log has whole or not at all.
type Change struct {
	// Messages are appended in their order.
	Messages Bodies
	// Held are messages that are held from now on: bodies of KindHeld records.
	Held Bodies
	// Fires are held messages of this shard that are due. ErrEnded, and nothing is
	// changed, when one of them was given up.
	Fires []Firing
	// Values are set or deleted with the messages: bodies of KindValue records.
	Values Bodies
	// Settle are the messages of cursors that end.
	Settle []Settlement
	// Transfers are what takes effect in other shards because this change is
	// committed: bodies of KindTransfer records.
	Transfers Bodies
	// Of is the transfer that the change carries out; nil for one that begins here.
	Of *record.TransferRef
	// Sync asks that the batch is on disk before it is committed. Settlements of
	// durable cursors, values and transfers have it so at any rate.
	Sync bool
}

// Bodies are bodies of records, one behind the other. The zero Bodies is empty.
type Bodies struct {
	raw  []byte
	ends []int
}

// Len is the number of bodies.
func (b *Bodies) Len() int { return len(b.ends) }

// Size is how many bytes they have together.
func (b *Bodies) Size() int { return len(b.raw) }

// At returns body i, which is valid until the bodies are changed.
func (b *Bodies) At(i int) []byte {
	start := 0
	if i > 0 {
		start = b.ends[i-1]
	}
	return b.raw[start:b.ends[i]:b.ends[i]]
}

// AddMessage appends the body of a message record.
func (b *Bodies) AddMessage(m *record.Message) { b.end(record.AppendMessage(b.raw, m)) }

// AddTransfer appends the body of a transfer record.
func (b *Bodies) AddTransfer(t *record.Transfer) { b.end(record.AppendTransfer(b.raw, t)) }

// Add appends a body.
func (b *Bodies) Add(body []byte) { b.end(append(b.raw, body...)) }

func (b *Bodies) end(raw []byte) { b.raw, b.ends = raw, append(b.ends, len(raw)) }

// Changed tells what became of a change.
type Changed struct {
	// LSN is that of its last record: once that is committed, all of it is.
	LSN record.LSN
	// Transfers is the LSN of the first of its transfers, which follow each other;
	// they are their numbers.
	Transfers record.LSN
	// Settled is how many messages ended that had not before.
	Settled int
}

// Change makes a change. It blocks while the open batch is full. The settlements
// hold at once, as acks do; after a crash all of the change is there, or nothing. A
// transfer that has taken effect before changes nothing. With an error nothing is
// changed, or the shard has failed.
func (s *Shard) Change(c *Change) (Changed, error) {
	if err := s.lockWithRoom(); err != nil {
		return Changed{}, err
	}
	defer s.mu.Unlock()
	defer s.amu.Unlock()
	// The acks get into the batch that the records are in: who takes the open batch
	// holds mu.
	var done Changed
	if c.Of != nil && s.transfers.taken(c.Of) {
		done.LSN = s.open.Base + record.LSN(s.open.Len()) - 1
		return done, nil
	}
	if err := s.mayFire(c.Fires); err != nil {
		return Changed{}, err
	}
	s.appendAll(record.KindMessage, &c.Messages)
	s.appendAll(record.KindHeld, &c.Held)
	s.appendFires(c.Fires)
	s.appendAll(record.KindValue, &c.Values)
	done.Transfers = s.open.Base + record.LSN(s.open.Len())
	s.appendAll(record.KindTransfer, &c.Transfers)
	if c.Of != nil {
		s.open.Begin(record.KindTransferred)
		s.open.Raw = record.AppendTransferRef(s.open.Raw, *c.Of)
		s.open.End()
	}
	s.open.Sync = s.open.Sync || c.Sync || c.Of != nil || c.Transfers.Len()+c.Values.Len()+len(c.Fires) > 0
	s.wake()
	s.amu.Unlock() // settling may append marks
	for i := range c.Settle {
		done.Settled += c.Settle[i].By.settle(c.Settle[i].Offsets)
	}
	s.amu.Lock()
	done.LSN = s.flushAcks()
	return done, nil
}

// lockWithRoom takes mu and amu when the open batch has room.
func (s *Shard) lockWithRoom() error {
	for {
		s.mu.Lock()
		s.amu.Lock()
		full := len(s.open.Raw) >= s.cfg.BatchBytes || s.open.Len() >= maxBatchRecords
		failed := s.failed
		if failed == nil && !full {
			return nil
		}
		s.mu.Unlock() // who empties the batch needs it
		if failed == nil {
			failed = s.work.Park(&s.space)
		}
		s.amu.Unlock()
		if failed != nil {
			return failed
		}
	}
}

// appendAll appends records of a kind. amu is held.
func (s *Shard) appendAll(kind record.Kind, bodies *Bodies) {
	for i := range bodies.Len() {
		s.open.Begin(kind)
		s.open.Raw = append(s.open.Raw, bodies.At(i)...)
		s.open.End()
	}
}
