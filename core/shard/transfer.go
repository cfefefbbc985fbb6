package shard

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// What takes effect in several shards is decided in one of them: its batch has, with
// the shard's own part, a transfer record for each of the others. Once that batch
// is committed, each target gets its part in one batch with a record that it has
// it, and then the source a record that the transfer is done. A crash in between
// leaves the transfer in the source, and the target knows whether it has it.

// transfers is what a shard knows of them; mu guards it.
type transfers struct {
	open map[record.LSN]struct{}            // decided here and not done
	here map[uint32]map[record.LSN]struct{} // of other shards, that have taken effect here
	done record.LSN                         // all that were decided here with lower numbers are done
}

// taken tells whether a transfer has taken effect.
func (t *transfers) taken(r *record.TransferRef) bool {
	_, ok := t.here[r.Source][r.Number]
	return ok
}

func (t *transfers) begin(number record.LSN) {
	if t.open == nil {
		t.open = map[record.LSN]struct{}{}
	}
	t.open[number] = struct{}{}
}

func (t *transfers) take(source uint32, number record.LSN) {
	if t.here == nil {
		t.here = map[uint32]map[record.LSN]struct{}{}
	}
	if t.here[source] == nil {
		t.here[source] = map[record.LSN]struct{}{}
	}
	t.here[source][number] = struct{}{}
}

// applyTransfer folds one of the three records.
func (s *Shard) applyTransfer(kind record.Kind, body []byte, lsn record.LSN) error {
	if kind == record.KindTransfer {
		s.transfers.begin(lsn)
		s.pending.Set(index.TransferKey(lsn), nil)
		return nil
	}
	r, err := record.DecodeTransferRef(body)
	if err != nil {
		return err
	}
	if kind == record.KindTransferDone {
		s.applyTransferDone(&r, lsn)
		return nil
	}
	for number := range s.transfers.here[r.Source] {
		if number < r.Open {
			delete(s.transfers.here[r.Source], number)
			s.pending.Delete(index.TransferredKey(r.Source, number))
		}
	}
	s.transfers.take(r.Source, r.Number)
	s.pending.Set(index.TransferredKey(r.Source, r.Number), nil)
	return nil
}

// applyTransferDone folds the record that a transfer is done, and perhaps all before.
func (s *Shard) applyTransferDone(r *record.TransferRef, lsn record.LSN) {
	for number := range s.transfers.open {
		if number == r.Number || number < r.Open {
			delete(s.transfers.open, number)
			s.pending.Delete(index.TransferKey(number))
		}
	}
	if r.Open >= s.transfers.done {
		s.transfers.done = r.Open
		s.pending.Set(index.TransferDoneKey, index.AppendTransferDone(nil, lsn, r.Open))
	}
}

func (s *Shard) loadTransferDone(_, v []byte) (err error) {
	_, s.transfers.done, err = index.DecodeTransferDone(v)
	return err
}

func (s *Shard) loadTransfer(k, _ []byte) error {
	number, err := index.Uint64(k, 0)
	if err == nil {
		s.transfers.begin(record.LSN(number))
	}
	return err
}

func (s *Shard) loadTransferred(k, _ []byte) error {
	source, err := index.Uint64(k, 0)
	if err != nil {
		return err
	}
	number, err := index.Uint64(k, 1)
	if err == nil {
		s.transfers.take(uint32(source), record.LSN(number))
	}
	return err
}

// OpenTransfers returns the numbers of the transfers that were decided here and are
// not done, ascending.
func (s *Shard) OpenTransfers() []record.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.transfers.open))
}

// Transferred returns, by shard, the highest number of a transfer from that shard that
// has taken effect here. It is a record that the shard's log had on stable storage.
func (s *Shard) Transferred() map[uint32]record.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	highest := make(map[uint32]record.LSN, len(s.transfers.here))
	for source, numbers := range s.transfers.here {
		for number := range numbers {
			highest[source] = max(highest[source], number)
		}
	}
	return highest
}

// Transfer reads a transfer that is not done from the log.
func (s *Shard) Transfer(number record.LSN) (record.Transfer, error) {
	b, err := s.log.Read(number)
	if err != nil {
		return record.Transfer{}, fmt.Errorf("transfer %d: %w", number, err)
	}
	i, ok := b.Find(number)
	if !ok {
		return record.Transfer{}, fmt.Errorf("transfer %d: %w", number, ErrNotFound)
	}
	kind, body := b.Record(i)
	if kind != record.KindTransfer {
		return record.Transfer{}, fmt.Errorf("transfer %d is of kind %d: %w", number, kind, record.ErrCorrupt)
	}
	return record.DecodeTransfer(body)
}

// TransferRef names a committed transfer of this shard for its target.
func (s *Shard) TransferRef(number record.LSN) *record.TransferRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.transferRef(number)
	r.Open = min(r.Open, number)
	return &r
}

// transferRef names a transfer of this shard. mu is held.
func (s *Shard) transferRef(number record.LSN) record.TransferRef {
	r := record.TransferRef{Source: s.cfg.Identity.Shard, Number: number, Open: s.Committed() + 1}
	for n := range s.transfers.open {
		if n != number {
			r.Open = min(r.Open, n)
		}
	}
	return r
}

// TransferDone notes that the target has a transfer for good.
func (s *Shard) TransferDone(number record.LSN) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.Append(record.KindTransferDone, record.AppendTransferRef(nil, s.transferRef(number)), nil)
	return err
}

// CarryOut makes the change that a transfer from another shard asks for. Where the
// offsets of this shard were counted anew at its last start, acks do not say any
// more what they settle, and what they are of comes again.
func (s *Shard) CarryOut(t *record.Transfer, of *record.TransferRef, recounted bool) (record.LSN, error) {
	c := Change{Of: of}
	for _, body := range t.Messages {
		c.Messages.Add(body)
	}
	for _, body := range t.Acks {
		var a record.Ack
		if err := record.DecodeAck(body, &a); err != nil {
			return 0, fmt.Errorf("transfer %d of shard %d: %w", of.Number, of.Source, err)
		}
		if recounted {
			continue
		}
		c.Settle = append(c.Settle, s.settlementOf(&a))
	}
	done, err := s.Change(&c)
	return done.LSN, err
}

// settlementOf turns an ack into what it settles of the messages that there are.
func (s *Shard) settlementOf(a *record.Ack) Settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	settle := Settlement{By: s.AtCursor(a.Stream, a.Cursor)}
	st := s.streams[a.Stream]
	if st == nil {
		return settle
	}
	for _, r := range a.Ranges {
		for o := max(r.First, st.refs.Low()); o < min(r.End, st.refs.End()); o++ {
			settle.Offsets = append(settle.Offsets, o)
		}
	}
	return settle
}

// Recounted returns the record up to which acks are of another count of offsets
// than the one there is; 0 when there was only one.
func (s *Shard) Recounted() record.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recounted
}

// transferControl is control for the records of transfers. A transfer stays until it
// is done, and what took effect until its number can't come any more. One of the
// records that tell that transfers are done tells of all below a number, so only that
// one stays, and those of later transfers.
func (k *keeper) transferControl(lsn record.LSN, kind record.Kind, body []byte) (is, isEnd bool, err error) {
	if kind == record.KindTransfer {
		is, err = k.exists(index.TransferKey(lsn))
		return is, false, err
	}
	r, err := record.DecodeTransferRef(body)
	if err != nil {
		return false, false, err
	}
	if kind == record.KindTransferDone {
		v, err := k.snap.Get(index.TransferDoneKey) // it is there since this record was applied
		if err != nil {
			return false, false, err
		}
		at, below, err := index.DecodeTransferDone(v)
		return lsn == at || r.Number >= below, false, err
	}
	is, err = k.exists(index.TransferredKey(r.Source, r.Number))
	return is, false, err
}
