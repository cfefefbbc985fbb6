package shard

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/schedule"
)

// A held message is a record that no stream refers to. When it is due, a fire record
// gives its streams references to that: it is where the message was routed to then, and
// names the record with the body, which is stored once. So references ascend, whenever
// the messages were published. Who delivers held messages is outside of the shard, see
// TakeDue and Change; which are due, and which given up, is decided here, by the order
// of the log.

// held is what a shard knows of held messages; mu guards it, and amu too whatever is
// decided when a record is appended.
type held struct {
	queue *schedule.Queue
	// names are those that the store has not got, by index.ScheduleKey.
	names map[string]named
	// renamed may be left to the store once their round is there.
	renamed []renamed
	// repeating are messages that are being delivered and are due again, while the
	// record of that is not applied.
	repeating map[record.LSN]struct{}
	counts    map[string]uint64 // by namespace
	counted   map[string]struct{}
	formatted bool          // the store's format says that it has had held messages
	kick      chan struct{} // see Due
	fire      record.Fire   // scratch, as are the others
	fired     index.Fired
	value     []byte
}

// named is which record a name belongs to, 0 for none.
type named struct {
	lsn   record.LSN
	due   int64
	round uint64 // in which the store gets that; 0 before the record is applied
}

type renamed struct {
	key   string
	round uint64
}

func newHeld() held {
	return held{
		queue: schedule.NewQueue(), names: map[string]named{}, repeating: map[record.LSN]struct{}{},
		counts: map[string]uint64{}, counted: map[string]struct{}{}, kick: make(chan struct{}, 1),
	}
}

// applyOfHeld folds a record of a held message.
func (s *Shard) applyOfHeld(kind record.Kind, body []byte, lsn record.LSN) error {
	switch kind {
	case record.KindHeld:
		return s.applyHeld(body, lsn)
	case record.KindFire:
		return s.applyFire(body, lsn, nil)
	case record.KindPlacedFire:
		return s.applyPlacedFire(body, lsn)
	default:
		return s.applyCancel(body)
	}
}

// applyHeld folds a message that is to be held.
func (s *Shard) applyHeld(body []byte, lsn record.LSN) error {
	m, h := &s.msg, &s.held
	if err := record.DecodeMessage(body, m); err != nil {
		return err
	}
	if m.DeliverAt == 0 || m.NumStreams() > 0 {
		return fmt.Errorf("held message: %w", record.ErrCorrupt)
	}
	if !h.formatted {
		h.formatted = true
		s.pending.Set(index.FormatKey, index.AppendFormatHeld(nil, s.cfg.Identity))
	}
	s.applyOnce(m, lsn)
	h.count(string(m.Namespace), 1)
	if len(m.Schedule) > 0 {
		key := index.ScheduleKey(m.Namespace, m.Schedule)
		if n, ok := h.names[string(key)]; !ok || n.lsn <= lsn {
			h.rename(string(key), named{lsn, m.DeliverAt, h.queue.Round()})
		}
		s.pending.Set(index.ScheduleRecordKey(m.Namespace, m.Schedule, lsn), nil)
	}
	s.checkpoint.refs++
	s.noteDue(h.queue.Add(schedule.Entry{Due: m.DeliverAt, LSN: lsn}))
	return nil
}

// noteDue tells who delivers held messages that one is due before all others.
func (s *Shard) noteDue(first bool) {
	if first && !s.recovering {
		s.kickDue()
	}
}

func (s *Shard) kickDue() {
	select {
	case s.held.kick <- struct{}{}:
	default: // it is told already
	}
}

func (h *held) count(namespace string, by int) {
	h.counts[namespace] = uint64(max(0, int64(h.counts[namespace])+int64(by)))
	h.counted[namespace] = struct{}{}
}

// rename notes whose a name is until the store has that.
func (h *held) rename(key string, n named) {
	h.names[key] = n
	if n.round != 0 {
		h.renamed = append(h.renamed, renamed{key, n.round})
	}
}

// applyPlacedFire folds a fire record of a rewritten segment, which only a rebuild meets.
func (s *Shard) applyPlacedFire(body []byte, lsn record.LSN) error {
	if s.rebuild == nil {
		return fmt.Errorf("placed fire record above the checkpoint: %w", record.ErrCorrupt)
	}
	places, fire, err := record.SplitPlacedFire(body, s.rebuild.places[:0])
	if err != nil {
		return err
	}
	s.rebuild.places = places
	return s.applyFire(fire, lsn, places)
}

// applyFire folds that a held message is due. places are those of a placed record, else
// nil.
func (s *Shard) applyFire(body []byte, lsn record.LSN, places []record.Place) error {
	h := &s.held
	f, where := &h.fire, &h.fired
	if err := record.DecodeFire(body, f); err != nil {
		return err
	}
	m := &f.Message
	if places != nil && len(places) != m.NumStreams() {
		return fmt.Errorf("placed fire record: %w", record.ErrCorrupt)
	}
	where.Streams, where.Offsets = where.Streams[:0], where.Offsets[:0]
	err := s.referAll(m, lsn, places, func(id record.StreamID, o record.Offset) {
		where.Streams, where.Offsets = append(where.Streams, id), append(where.Offsets, o)
	})
	if err != nil {
		return err
	}
	where.Retain, where.Namespace, where.Topic = m.Retain && m.PayloadSize() > 0, m.Namespace, m.Key
	if m.Retain {
		s.retain(m, nil, lsn)
	}
	if len(where.Streams) > 0 || where.Retain {
		h.value = index.AppendFired(h.value[:0], where)
		s.pending.Set(index.FiredKey(f.Body, lsn), h.value)
	}
	if f.Next == 0 {
		return s.endHeld(f.Body, m.DeliverAt, string(m.Namespace), string(m.Schedule))
	}
	delete(h.repeating, f.Body)
	if known, err := s.knowsHeld(f.Body); err != nil || !known {
		return err
	}
	s.pending.Delete(index.HeldDueKey(m.DeliverAt, f.Body))
	s.checkpoint.refs++
	s.noteDue(h.queue.Again(schedule.Entry{Due: f.Next, LSN: f.Body}))
	return nil
}

// applyCancel folds that a held message was given up.
func (s *Shard) applyCancel(body []byte) error {
	var c record.Cancel
	if err := record.DecodeCancel(body, &c); err != nil {
		return err
	}
	return s.endHeld(c.Body, c.Due, c.Namespace, c.Schedule)
}

// endHeld notes that a message is not held any more.
func (s *Shard) endHeld(lsn record.LSN, due int64, namespace, name string) error {
	h := &s.held
	if known, err := s.knowsHeld(lsn); err != nil || !known {
		return err
	}
	if h.queue.End(lsn) {
		s.pending.Delete(index.HeldKey(lsn))
		s.pending.Delete(index.HeldDueKey(due, lsn))
	}
	h.count(namespace, -1)
	if name == "" {
		return nil
	}
	key := string(index.ScheduleKey(namespace, name))
	if n, ok := h.names[key]; !ok || n.lsn == lsn || n.lsn == 0 {
		h.rename(key, named{round: h.queue.Round()})
	}
	s.pending.Delete(index.ScheduleRecordKey(namespace, name, lsn))
	return nil
}

// knowsHeld tells whether a message is held. Only a rebuild may meet the end of one
// that is not: it is not in the log any more.
func (s *Shard) knowsHeld(lsn record.LSN) (bool, error) {
	if s.rebuild == nil {
		return true, nil
	}
	if s.held.queue.Claimed(lsn) {
		return false, nil
	}
	if _, ok := s.held.queue.Due(lsn); ok {
		return true, nil
	}
	_, err := s.store.Get(index.HeldKey(lsn))
	if errors.Is(err, index.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// gatherHeld appends what the store has not got to the pending batch, and returns the
// round of the queue. mu is held.
func (s *Shard) gatherHeld() (round uint64) {
	h := &s.held
	round = h.queue.Store(func(e schedule.Entry) {
		h.value = index.AppendDue(h.value[:0], e.Due)
		s.pending.Set(index.HeldKey(e.LSN), h.value)
		s.pending.Set(index.HeldDueKey(e.Due, e.LSN), nil)
	})
	for namespace := range h.counted {
		n := h.counts[namespace]
		if n == 0 {
			delete(h.counts, namespace)
			s.pending.Delete(index.HeldCountKey(namespace))
			continue
		}
		s.pending.Set(index.HeldCountKey(namespace), index.AppendHeldCount(nil, n))
	}
	clear(h.counted)
	return round
}

// heldStored forgets what the store has now. mu is held, but not all the time.
func (s *Shard) heldStored(round uint64) {
	h := &s.held
	h.queue.Stored(round)
	for h.queue.Forget(sliceLen) {
		s.breathe(s.slice - 1)
	}
	i := 0
	for ; i < len(h.renamed) && h.renamed[i].round <= round; i++ {
		s.breathe(i)
		if n, ok := h.names[h.renamed[i].key]; ok && n.round != 0 && n.round <= round {
			delete(h.names, h.renamed[i].key)
		}
	}
	if h.renamed = h.renamed[i:]; len(h.renamed) == 0 {
		h.renamed = nil
	}
}

func (s *Shard) loadHeldCount(k, v []byte) error {
	namespace, n, err := index.DecodeHeldCount(k, v)
	if err == nil {
		s.held.counts[namespace] = n
	}
	return err
}

// Held is how many messages of a namespace are held.
func (s *Shard) Held(namespace string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held.counts[namespace]
}
