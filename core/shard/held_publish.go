package shard

import (
	"bytes"
	"errors"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/schedule"
)

// ErrTaken tells that a name belongs to a message with another exchange or key.
var ErrTaken = errors.New("name of another held message")

// errOther tells that a name has come to another message than the one that was looked at.
var errOther = errors.New("another message")

// Hold is Publish for a message that is delivered at its DeliverAt. It is held until
// then; one with a name takes the place of what was held under that name before. Unless
// it may replace all, that must have the same exchange and key: else ErrTaken.
func (s *Shard) Hold(m *record.Message, all, sync bool, w *Waiter) (record.LSN, error) {
	if len(m.Schedule) > 0 {
		return s.holdNamed(m, all, sync, w)
	}
	s.amu.Lock()
	defer s.amu.Unlock()
	if err := s.awaitRoom(); err != nil {
		return 0, err
	}
	if lsn, known := s.knownOnce(m, w); known {
		return lsn, nil
	}
	return s.appendMessage(record.KindHeld, m, sync, w), nil
}

// holdNamed is Hold for a message with a name.
func (s *Shard) holdNamed(m *record.Message, all, sync bool, w *Waiter) (lsn record.LSN, err error) {
	key := index.ScheduleKey(m.Namespace, m.Schedule)
	for {
		var same record.LSN
		if !all {
			if same, err = s.sameTarget(key, m); err != nil {
				return 0, err
			}
		}
		err = s.withNamed(key, func(before named) error {
			var known bool
			if lsn, known = s.knownOnce(m, w); known {
				return nil
			}
			if before.lsn != 0 && !all && before.lsn != same {
				return errOther
			}
			if before.lsn != 0 {
				s.appendCancel(before, string(m.Namespace), string(m.Schedule), w)
			}
			lsn = s.appendMessage(record.KindHeld, m, sync, w)
			s.held.rename(string(key), named{lsn: lsn, due: m.DeliverAt})
			return nil
		})
		if !errors.Is(err, errOther) {
			return lsn, err
		}
	}
}

// sameTarget returns the record that is held under a name, 0 for none: ErrTaken when it has
// another exchange or key than the message.
func (s *Shard) sameTarget(key []byte, m *record.Message) (record.LSN, error) {
	of, _, err := s.findNamed(key)
	if err != nil || of.lsn == 0 {
		return 0, err
	}
	if err := s.Await(of.lsn); err != nil {
		return 0, err
	}
	var hint Hint
	var held record.Message
	_, err = s.Record(of.lsn, &hint, &held)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.held.queue.Claimed(of.lsn):
		return 0, nil
	case errors.Is(err, ErrNotFound): // its loss was accepted
		return of.lsn, nil
	case err != nil:
		return 0, err
	case held.Format != m.Format || !bytes.Equal(held.Exchange, m.Exchange) || !bytes.Equal(held.Key, m.Key):
		return 0, ErrTaken
	}
	return of.lsn, nil
}

// Cancel gives up what is held under a name. ErrNotFound when there is nothing, or it
// is being delivered. The result is the record to wait for: once it is committed the
// message will not be delivered.
func (s *Shard) Cancel(namespace, name string, w *Waiter) (lsn record.LSN, err error) {
	key := index.ScheduleKey(namespace, name)
	err = s.withNamed(key, func(of named) error {
		if of.lsn == 0 {
			return ErrNotFound
		}
		lsn = s.appendCancel(of, namespace, name, w)
		s.held.rename(string(key), named{})
		return nil
	})
	return lsn, err
}

// CancelHeld is Cancel by the record of a message, which the caller has read: name is
// that of the message, empty when it has none.
func (s *Shard) CancelHeld(of record.LSN, namespace, name string) (record.LSN, error) {
	for {
		due, rounds, err := s.dueOf(of)
		if err != nil {
			return 0, err
		}
		if err := s.lockWithRoom(); err != nil {
			return 0, err
		}
		again, err := s.unsettledHeld(of, rounds)
		if err != nil || again {
			s.amu.Unlock()
			s.mu.Unlock()
			if err == nil {
				err = s.Await(s.lastAppended())
			}
			if err != nil {
				return 0, err
			}
			continue
		}
		lsn := s.appendCancel(named{lsn: of, due: due}, namespace, name, nil)
		s.amu.Unlock()
		s.mu.Unlock()
		return lsn, nil
	}
}

// unsettledHeld tells whether what was found of a held message may be old, and that it is
// not held any more by ErrNotFound. mu is held.
func (s *Shard) unsettledHeld(lsn record.LSN, rounds uint64) (again bool, err error) {
	h := &s.held
	if h.queue.Claimed(lsn) {
		return false, ErrNotFound
	}
	_, repeating := h.repeating[lsn]
	return repeating || h.queue.Rounds() != rounds, nil
}

// dueOf finds when a held message is due: ErrNotFound when it is not held.
func (s *Shard) dueOf(lsn record.LSN) (due int64, rounds uint64, err error) {
	s.mu.Lock()
	rounds = s.held.queue.Rounds()
	due, ok := s.held.queue.Due(lsn)
	s.mu.Unlock()
	if ok {
		return due, rounds, nil
	}
	v, err := s.store.Get(index.HeldKey(lsn))
	if errors.Is(err, index.ErrNotFound) {
		return 0, rounds, ErrNotFound
	}
	if err == nil {
		due, err = index.DecodeDue(v)
	}
	return due, rounds, err
}

// withNamed calls fn with what is held under a name, which is none when that has been
// claimed, and has mu and amu held.
func (s *Shard) withNamed(key []byte, fn func(named) error) error {
	for {
		of, rounds, err := s.findNamed(key)
		if err != nil {
			return err
		}
		if err := s.lockWithRoom(); err != nil {
			return err
		}
		if of, again := s.stillNamed(key, of, rounds); !again {
			err := fn(of)
			s.amu.Unlock()
			s.mu.Unlock()
			return err
		}
		s.amu.Unlock()
		s.mu.Unlock()
		if err := s.Await(s.lastAppended()); err != nil {
			return err
		}
	}
}

// findNamed looks up what is held under a name, in the store if it is there alone.
func (s *Shard) findNamed(key []byte) (of named, rounds uint64, err error) {
	s.mu.Lock()
	of, known := s.held.names[string(key)]
	rounds = s.held.queue.Rounds()
	s.mu.Unlock()
	if known {
		return of, rounds, nil
	}
	err = s.store.Scan(key, func(k, _ []byte) error {
		of.lsn, err = index.ScheduleRecord(k, key)
		return err
	})
	if err != nil || of.lsn == 0 {
		return named{}, rounds, err
	}
	of.due, _, err = s.dueOf(of.lsn)
	if errors.Is(err, ErrNotFound) { // it has ended meanwhile
		return named{}, rounds, nil
	}
	return of, rounds, err
}

// stillNamed tells whether what was found under a name may be old. mu is held.
func (s *Shard) stillNamed(key []byte, of named, rounds uint64) (_ named, again bool) {
	h := &s.held
	if n, known := h.names[string(key)]; known {
		of = n // the newest there is
	} else if h.queue.Rounds() != rounds {
		return of, true
	}
	if of.lsn == 0 || h.queue.Claimed(of.lsn) {
		return named{}, false
	}
	if _, repeating := h.repeating[of.lsn]; repeating {
		return of, true
	}
	if due, ok := h.queue.Due(of.lsn); ok {
		of.due = due
	}
	return of, false
}

// appendCancel appends that a message is given up, which nobody delivers from now on. mu
// and amu are held.
func (s *Shard) appendCancel(of named, namespace, name string, w *Waiter) record.LSN {
	s.held.queue.Claim(schedule.Entry{Due: of.due, LSN: of.lsn})
	b := s.open
	b.Begin(record.KindCancel)
	b.Raw = record.AppendCancel(b.Raw, &record.Cancel{Body: of.lsn, Due: of.due, Namespace: namespace, Schedule: name})
	b.End()
	return s.appended(true, w)
}
