package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/schedule"
)

// ErrEnded tells that a held message was given up before it was delivered.
var ErrEnded = errors.New("held message was given up")

// Due gives something when a held message may be due before all that were before.
func (s *Shard) Due() <-chan struct{} { return s.held.kick }

// TakeDue appends to dst what is due at a time, unix milliseconds, in its order, up to
// a number in all. Who takes one delivers it by a Change, or gives it back. next is when
// the next one is due, if ok.
func (s *Shard) TakeDue(dst []schedule.Entry, now int64, most int) (_ []schedule.Entry, next int64, ok bool, err error) {
	if err := s.loadDue(); err != nil {
		return dst, 0, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dst = s.held.queue.Take(dst, now, most)
	next, ok = s.held.queue.Next()
	if !ok {
		if from, wants := s.held.queue.Wants(); wants { // those are to be loaded
			return dst, from.Due, true, nil
		}
	}
	return dst, next, ok, nil
}

// ReturnDue gives back what was taken and could not be delivered now.
func (s *Shard) ReturnDue(entries []schedule.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		s.held.queue.Return(e)
	}
}

// loadDue brings what is due next from the store, if little of that is at hand. The
// store may go on meanwhile: then what was read may be old, and it is read again.
func (s *Shard) loadDue() error {
	q := s.held.queue
	for {
		s.mu.Lock()
		from, wants := q.Wants()
		rounds := q.Rounds()
		s.mu.Unlock()
		if !wants {
			return nil
		}
		entries, more, err := s.readDue(from, schedule.LoadMost)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if q.Rounds() == rounds {
			q.Load(entries, more)
		}
		s.mu.Unlock()
	}
}

// readDue reads from the store what is due from an entry on; more tells that there is
// more behind them.
func (s *Shard) readDue(from schedule.Entry, most int) (entries []schedule.Entry, more bool, err error) {
	err = s.store.ScanFrom(index.HeldDuePrefix, index.HeldDueKey(from.Due, from.LSN), func(k, _ []byte) error {
		if len(entries) == most {
			more = true
			return errEnough
		}
		due, lsn, err := index.SplitHeldDueKey(k)
		entries = append(entries, schedule.Entry{Due: due, LSN: lsn})
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, false, fmt.Errorf("read held messages: %w", err)
	}
	return entries, more, nil
}

// HeldRecords returns some of the records that are held, behind one, ascending.
func (s *Shard) HeldRecords(behind record.LSN, most int) (lsns []record.LSN, err error) {
	s.mu.Lock()
	fresh := s.held.queue.Fresh(behind)
	s.mu.Unlock()
	err = s.store.ScanFrom(index.HeldPrefix, index.HeldKey(behind+1), func(k, _ []byte) error {
		if len(lsns) == most {
			return errEnough
		}
		lsn, err := index.Uint64(k, 0)
		lsns = append(lsns, record.LSN(lsn))
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read held messages: %w", err)
	}
	lsns = append(lsns, fresh...)
	slices.Sort(lsns)
	lsns = slices.Compact(lsns)
	return lsns[:min(most, len(lsns))], nil
}

// Firing is a held message that a change delivers.
type Firing struct {
	Entry schedule.Entry
	Next  int64  // when it is due again, 0 for never
	Body  []byte // of the KindFire record
}

// mayFire refuses a change with a held message that was given up. mu is held.
func (s *Shard) mayFire(fires []Firing) error {
	for i := range fires {
		if s.held.queue.Claimed(fires[i].Entry.LSN) {
			return fmt.Errorf("record %d: %w", fires[i].Entry.LSN, ErrEnded)
		}
	}
	return nil
}

// appendFires appends the records of what is delivered: from now on nobody can give
// that up. mu and amu are held.
func (s *Shard) appendFires(fires []Firing) {
	for i := range fires {
		f := &fires[i]
		s.open.Begin(record.KindFire)
		s.open.Raw = append(s.open.Raw, f.Body...)
		s.open.End()
		if f.Next == 0 {
			s.held.queue.Claim(f.Entry)
		} else {
			s.held.repeating[f.Entry.LSN] = struct{}{}
		}
	}
}

// heldBody fills a message that was due with what the record has that held it.
func (s *Shard) heldBody(m *record.Message, h *Hint) error {
	lsn := m.Body
	if h.body == nil || holds(h.body, lsn) == nil {
		b := s.tail.find(lsn)
		if b == nil {
			var err error
			if b, err = s.block(lsn, h); err != nil {
				return err
			}
		}
		h.body = b
	}
	i, ok := h.body.Find(lsn)
	if !ok {
		return fmt.Errorf("record %d: %w", lsn, ErrNotFound)
	}
	kind, body := h.body.Record(i)
	if kind != record.KindHeld {
		return fmt.Errorf("record %d is of kind %d: %w", lsn, kind, ErrNotFound)
	}
	var of record.Message
	if err := record.DecodeMessage(body, &of); err != nil {
		return err
	}
	m.Properties, m.Payload, m.HiddenKeys = of.Properties, of.Payload, of.HiddenKeys
	return nil
}
