package shard

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// maxBatchRecords bounds a batch beside its bytes, for tiny records.
const maxBatchRecords = 1 << 16

// Waiter is told when a batch that it appended to is committed. It belongs to
// one shard. Its function must not block.
type Waiter struct {
	notify func()
	batch  uint64 // the last batch that it waits for; guarded by amu
}

// NewWaiter makes a waiter.
func NewWaiter(notify func()) *Waiter { return &Waiter{notify: notify} }

// Publish appends a message record. It blocks while the open batch is full.
// The message is committed when Committed reaches the result. With sync it is
// then on disk, else it may still be lost with the machine. A Once that is
// already known appends nothing and returns the LSN of the first.
func (s *Shard) Publish(m *record.Message, sync bool, w *Waiter) (record.LSN, error) {
	s.amu.Lock()
	defer s.amu.Unlock()
	if err := s.awaitRoom(); err != nil {
		return 0, err
	}
	if lsn, known := s.knownOnce(m, w); known {
		return lsn, nil
	}
	return s.appendMessage(record.KindMessage, m, sync, w), nil
}

// awaitRoom waits until the open batch has room. amu is held, but while it waits.
func (s *Shard) awaitRoom() error {
	for s.failed == nil && (len(s.open.Raw) >= s.cfg.BatchBytes || s.open.Len() >= maxBatchRecords) {
		if err := s.work.Park(&s.space); err != nil {
			return err
		}
	}
	return s.failed
}

// knownOnce returns the record of an exactly-once number that is known, and has the
// waiter told of it. amu is held.
func (s *Shard) knownOnce(m *record.Message, w *Waiter) (record.LSN, bool) {
	if m.Once.Session == 0 {
		return 0, false
	}
	lsn, known := s.once[m.Once.Session][m.Once.ID]
	if known {
		s.await(w)
		s.wake()
	}
	return lsn, known
}

// appendMessage appends the record of a message, of one of the kinds that hold one. amu
// is held.
func (s *Shard) appendMessage(kind record.Kind, m *record.Message, sync bool, w *Waiter) record.LSN {
	b := s.open
	b.Begin(kind)
	b.Raw = record.AppendMessage(b.Raw, m)
	b.End()
	lsn := s.appended(sync, w)
	if m.Once.Session != 0 {
		s.remember(m.Once, lsn)
	}
	return lsn
}

// Knows tells whether a publish with the exactly-once number would append nothing.
func (s *Shard) Knows(o record.Once) bool {
	s.amu.Lock()
	defer s.amu.Unlock()
	_, known := s.once[o.Session][o.ID]
	return known
}

// remember notes an exactly-once number; amu is held, but while recovering.
func (s *Shard) remember(o record.Once, lsn record.LSN) {
	ids := s.once[o.Session]
	if ids == nil {
		ids = map[uint16]record.LSN{}
		s.once[o.Session] = ids
	}
	ids[o.ID] = lsn
}

func (s *Shard) forget(o record.Once) {
	ids := s.once[o.Session]
	delete(ids, o.ID)
	if len(ids) == 0 {
		delete(s.once, o.Session)
	}
}

// Append appends a record of another kind. It never waits for room.
func (s *Shard) Append(kind record.Kind, body []byte, w *Waiter) (record.LSN, error) {
	s.amu.Lock()
	defer s.amu.Unlock()
	return s.appendLocked(kind, body, w)
}

func (s *Shard) appendLocked(kind record.Kind, body []byte, w *Waiter) (record.LSN, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	s.open.Begin(kind)
	s.open.Raw = append(s.open.Raw, body...)
	s.open.End()
	lsn := s.appended(true, w)
	if kind == record.KindAck {
		s.lastAck = lsn
	}
	return lsn, nil
}

// Release forgets an exactly-once number; 0 when it was not known here.
func (s *Shard) Release(o record.Once, w *Waiter) (record.LSN, error) {
	s.amu.Lock()
	defer s.amu.Unlock()
	if _, known := s.once[o.Session][o.ID]; !known {
		return 0, s.failed
	}
	s.forget(o)
	return s.appendLocked(record.KindRelease, record.AppendOnce(s.scratch[:0], o), w)
}

// ReleaseAll forgets all exactly-once numbers of a session.
func (s *Shard) ReleaseAll(session uint64) error {
	s.amu.Lock()
	defer s.amu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.once[session])) {
		o := record.Once{Session: session, ID: id}
		if _, err := s.appendLocked(record.KindRelease, record.AppendOnce(s.scratch[:0], o), nil); err != nil {
			return err
		}
	}
	delete(s.once, session)
	return nil
}

// appended wakes the committer for the record just appended and returns its LSN.
func (s *Shard) appended(sync bool, w *Waiter) record.LSN {
	b := s.open
	b.Sync = b.Sync || sync
	s.await(w)
	s.wake()
	return b.Base + record.LSN(b.Len()) - 1
}

func (s *Shard) await(w *Waiter) {
	if w != nil && w.batch != s.batches {
		w.batch = s.batches
		s.waiters = append(s.waiters, w)
	}
}

// wake tells the committer that the open batch has something to commit.
func (s *Shard) wake() {
	if !s.woken {
		s.woken = true
		s.kick <- struct{}{} // capacity 1, and the committer empties it before woken is reset
	}
}

// leastBatch is the room in bytes that a batch begins with. A broker with little
// to do has batches of a few records, of which the tail keeps many.
const leastBatch = 1 << 10

// swap takes the open batch and puts an empty one in its place.
func (s *Shard) swap() (*record.Batch, []*Waiter) {
	b, ws := s.open, s.waiters
	size := min(max(len(b.Raw)+len(b.Raw)/4, leastBatch), s.cfg.BatchBytes+s.cfg.BatchBytes/4)
	s.open = &record.Batch{
		Base: b.Base + record.LSN(b.Len()),
		Raw:  make([]byte, 0, size),
		Ends: make([]uint32, 0, max(16, b.Len()+b.Len()/4)),
	}
	s.waiters = s.spare[:0]
	s.spare = nil
	s.batches++
	s.woken = false
	s.space.Broadcast()
	return b, ws
}

// fail stops the shard for good: what waits gets the error, nothing is taken any more.
func (s *Shard) fail(err error) {
	s.amu.Lock()
	defer s.amu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	ws := s.waiters
	s.waiters = nil
	s.space.Broadcast()
	for _, w := range ws {
		w.notify()
	}
}

// Err returns why the shard takes no more records, or nil.
func (s *Shard) Err() error {
	s.amu.Lock()
	defer s.amu.Unlock()
	return s.failed
}

// Committed returns the LSN up to which everything is committed and applied.
func (s *Shard) Committed() record.LSN { return record.LSN(s.committed.Load()) }
