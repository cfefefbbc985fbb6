package shard

import (
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// apply folds a committed batch into the state and hands out what became
// deliverable. While recovering it is called for every batch of the log.
func (s *Shard) apply(b *record.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	if !s.recovering {
		s.tail.push(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Len() {
		kind, body := b.Record(i)
		s.applyTime = b.Time(i)
		if err := s.applyRecord(kind, body, b.LSN(i)); err != nil {
			return fmt.Errorf("apply record %d: %w", b.LSN(i), err)
		}
	}
	s.committed.Store(uint64(b.Next() - 1))
	if !s.recovering {
		s.queueDeadlines()
		s.deliver()
	}
	return nil
}

// applyCommitted is apply for the committer, which asks for the error. The spill
// that waited for the batch goes to the store before the batch changes the state.
func (s *Shard) applyCommitted(b *record.Batch) {
	if sp := s.checkpoint.ready; sp != nil {
		s.checkpoint.ready = nil
		if s.applyErr = s.write(sp); s.applyErr != nil {
			return
		}
	}
	s.applyErr = s.apply(b)
}

func (s *Shard) applyRecord(kind record.Kind, body []byte, lsn record.LSN) error {
	s.noteKind(kind, len(body), lsn)
	switch kind {
	case record.KindMessage:
		return s.applyMessage(body, lsn, nil)
	case record.KindPlaced:
		return s.applyPlaced(body, lsn)
	case record.KindAck:
		return s.applyAck(body, lsn)
	case record.KindDelivered:
		return s.applyDelivered(body, lsn)
	case record.KindReturns:
		return s.applyReturns(body, lsn)
	case record.KindCursorCreate:
		return s.applyCursorCreate(body, lsn)
	case record.KindCursorDrop:
		c, err := record.DecodeCursorRef(body)
		if err == nil {
			s.pending.Delete(index.CursorKey(c.Stream, c.Cursor))
			s.pending.Delete(index.GroupKey(c.Stream, c.Cursor))
			s.ended(index.CursorThing(c.Stream, c.Cursor), lsn)
		}
		// Live too: a create record applied after the drop was asked for may have
		// made the cursor again.
		if st := s.streams[c.Stream]; err == nil && st != nil && st.queue == nil && lsn >= st.since {
			st.dropPlace(c.Cursor)
		}
		return err
	case record.KindStreamCreate:
		var info record.Stream
		err := record.DecodeStream(body, &info)
		if err == nil && s.recovering {
			s.beginAgain(info.ID, lsn)
			s.addStream(&info, true, lsn)
		}
		return err
	case record.KindStreamDrop:
		c, err := record.DecodeCursorRef(body)
		if err == nil {
			s.applyStreamDrop(c.Stream, lsn)
		}
		return err
	case record.KindSession, record.KindSessionDrop, record.KindSubscription,
		record.KindSubscriptionDrop, record.KindValue:
		return s.applySession(kind, body, lsn)
	case record.KindRelease:
		return s.applyRelease(body)
	case record.KindLoss:
		return s.applyLoss(body, lsn)
	case record.KindTruncate:
		return s.applyTruncate(body, lsn)
	case record.KindGroup:
		return s.applyGroup(body, lsn)
	case record.KindSeek:
		return s.applySeek(body, lsn)
	case record.KindCompact:
		return s.applyCompact(body, lsn)
	case record.KindForget:
		return s.applyForget(body, lsn)
	case record.KindTransfer, record.KindTransferred, record.KindTransferDone:
		return s.applyTransfer(kind, body, lsn)
	case record.KindHeld, record.KindFire, record.KindPlacedFire, record.KindCancel:
		return s.applyOfHeld(kind, body, lsn)
	default:
		return fmt.Errorf("kind %d: %w", kind, record.ErrVersion)
	}
}

// applyRelease forgets an exactly-once number.
func (s *Shard) applyRelease(body []byte) error {
	o, err := record.DecodeOnce(body)
	if err != nil {
		return err
	}
	s.pending.Delete(index.OnceKey(o))
	if s.recovering {
		s.forget(o)
	}
	return nil
}

// noteKind has upkeep know of a record that may end something, and of one that is
// not dropped unread.
func (s *Shard) noteKind(kind record.Kind, size int, lsn record.LSN) {
	if kind != record.KindMessage && kind != record.KindPlaced && kind != record.KindDelivered && kind != record.KindHeld {
		s.checkpoint.went = true
	}
	if isControl(kind) {
		s.markControl(lsn)
		s.controlBytes += uint64(size) + controlOverhead
	}
}

func (s *Shard) applyStreamDrop(id record.StreamID, lsn record.LSN) {
	s.strays.end(id)
	s.ended(index.StreamThing(id), lsn)
	s.pending.Delete(index.StreamKey(id))
	s.pending.DeletePrefix(index.CursorsKey(id))
	s.pending.DeletePrefix(index.ChunksKey(id))
	s.pending.DeletePrefix(index.SizesOfKey(id))
	s.pending.DeletePrefix(index.ReturnsOfKey(id))
	s.pending.DeletePrefix(index.GroupsKey(id))
	s.pending.DeletePrefix(index.PartsKey(id))
	if st := s.streams[id]; st != nil && s.recovering {
		st.gone = true
		for p := range st.places.each() {
			p.gone = true
		}
		if st.self != nil {
			st.self.gone = true
		}
		delete(s.streams, id)
		delete(s.keptStreams, id)
	}
	delete(s.orphans, id)
}

// applyPlaced folds a message of a rewritten segment, which only a rebuild meets.
func (s *Shard) applyPlaced(body []byte, lsn record.LSN) error {
	if s.rebuild == nil {
		return fmt.Errorf("placed message above the checkpoint: %w", record.ErrCorrupt)
	}
	places, message, err := record.SplitPlaced(body, s.rebuild.places[:0])
	if err != nil {
		return err
	}
	s.rebuild.places = places
	return s.applyMessage(message, lsn, places)
}

// applyMessage folds a message. places are those of a placed one, else nil.
func (s *Shard) applyMessage(body []byte, lsn record.LSN, places []record.Place) error {
	m := &s.msg
	if err := record.DecodeMessage(body, m); err != nil {
		return err
	}
	s.applyOnce(m, lsn)
	if err := s.referAll(m, lsn, places, nil); err != nil {
		return err
	}
	if m.Retain {
		s.retain(m, body, lsn)
	}
	return nil
}

// applyOnce notes the exactly-once number of a message.
func (s *Shard) applyOnce(m *record.Message, lsn record.LSN) {
	if m.Once.Session == 0 {
		return
	}
	s.pending.Set(index.OnceKey(m.Once), index.AppendLSN(nil, lsn))
	if s.recovering {
		s.remember(m.Once, lsn)
	}
}

// referAll gives the streams of a message their references to it. at, if not nil, is
// told of each.
func (s *Shard) referAll(
	m *record.Message, lsn record.LSN, places []record.Place, at func(id record.StreamID, o record.Offset),
) error {
	for i := range m.NumStreams() {
		if places != nil && places[i] == record.NoPlace {
			continue // not needed any more
		}
		st := s.streamOf(m.StreamAt(i), lsn)
		if st == nil || lsn < st.since {
			continue // dropped since it was routed
		}
		o, live, err := s.refer(st, lsn, places, i)
		if err != nil {
			return err
		}
		if !live {
			continue
		}
		if at != nil {
			at(st.id, o)
		}
		if st.queue != nil {
			st.sized(o, m)
			if l := st.head().limits; l != nil {
				l.coming.applied(lsn)
			}
			if at := m.DeadlineAt(i); at != 0 {
				s.addDeadline(st, o, at)
			}
		}
		s.checkpoint.refs++
		if !s.recovering {
			s.flow.came++
			st.takesIn()
		}
		s.changedStream(st)
		if st.kept != nil {
			if err := st.kept.appended(o, m, lsn); err != nil {
				return err
			}
		}
		if !st.touched && !s.recovering {
			st.touched = true
			s.touched = append(s.touched, st)
		}
	}
	return nil
}

// applyAck settles ranges while recovering. On a live shard the cursor was
// settled when the consumer said so, and the record only makes it last.
func (s *Shard) applyAck(body []byte, lsn record.LSN) error {
	if !s.recovering || s.otherCount(lsn) {
		return nil
	}
	if err := record.DecodeAck(body, &s.ack); err != nil {
		return err
	}
	if st := s.streams[s.ack.Stream]; st != nil {
		if p := st.place(s.ack.Cursor); p != nil {
			s.settleSure(p, s.ack.Ranges)
		}
	}
	return nil
}

func (s *Shard) applyDelivered(body []byte, lsn record.LSN) error {
	c, err := record.DecodeCursorRef(body)
	if err != nil {
		return err
	}
	st := s.streams[c.Stream]
	if st == nil || lsn < st.since { // of an earlier stream of this id
		return nil
	}
	if p := st.place(c.Cursor); p != nil {
		p.cur.Mark(c.Offset, s.recovering)
		s.changedPlace(p)
		p.marking = false
		if !st.touched && !s.recovering {
			st.touched = true
			s.touched = append(s.touched, st)
		}
	}
	return nil
}

func (s *Shard) applyCursorCreate(body []byte, lsn record.LSN) error {
	c, err := record.DecodeCursorRef(body)
	if err != nil {
		return err
	}
	st := s.streamOf(c.Stream, lsn)
	if st == nil || st.queue != nil || st.kept != nil || lsn < st.since {
		return nil
	}
	if st.addPlace(c.Cursor, true) {
		s.says(index.CursorThing(c.Stream, c.Cursor), lsn)
	}
	return nil
}

// deliver dispatches every touched stream and wakes who got something.
func (s *Shard) deliver() {
	for _, st := range s.touched {
		st.touched = false
		s.assign(st)
	}
	s.endAtOnce()
	s.endDue() // what is over does not make a queue too long
	for _, st := range s.touched {
		s.shorten(st)
	}
	clear(s.touched)
	s.touched = s.touched[:0]
	for _, r := range s.wokenReader {
		r.woken = false
		r.notify()
	}
	clear(s.wokenReader)
	s.wokenReader = s.wokenReader[:0]
}

// dispatch hands out what a stream has, after a change of it. mu is held.
func (s *Shard) dispatch(st *stream) {
	s.assign(st)
	s.shorten(st)
}

// assign assigns what a queue has to its consumers, and remembers the readers of a
// filter's stream for deliver to wake.
func (s *Shard) assign(st *stream) {
	if st.kept != nil {
		s.dispatchKept(st.kept)
		return
	}
	if st.queue == nil {
		for p := range st.places.each() {
			if p.reader != nil && !p.reader.woken {
				p.reader.woken = true
				s.wokenReader = append(s.wokenReader, p.reader)
			}
		}
		return
	}
	if st.priorities != nil {
		st.touch()
		if head := st.head(); head.queue.Consumers() > 0 {
			s.mark(st.self) // also while what is above it takes all the room
			s.assignAll(head)
		}
		return
	}
	s.wokenBy(st.queue.Dispatch(st.refs.End(), st.self.limit(), s.woke[:0]))
	if st.queue.Consumers() > 0 {
		s.mark(st.self)
	}
}

func (s *Shard) wokenBy(woken []*queue.Consumer) {
	for _, c := range woken {
		c.Owner.(*Consumer).notify() //nolint:errcheck,forcetypeassert // the owner is always set by Consume
	}
	clear(woken)
	s.woke = woken[:0]
}
