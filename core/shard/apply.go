package shard

import (
	"fmt"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
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
		if err := s.applyRecord(kind, body, b.LSN(i)); err != nil {
			return fmt.Errorf("apply record %d: %w", b.LSN(i), err)
		}
	}
	s.committed.Store(uint64(b.Next() - 1))
	if !s.recovering {
		s.deliver()
	}
	return nil
}

// applyCommitted is apply for the committer, which asks for the error.
func (s *Shard) applyCommitted(b *record.Batch) {
	if err := s.apply(b); err != nil {
		s.applyErr = err
	}
}

func (s *Shard) applyRecord(kind record.Kind, body []byte, lsn record.LSN) error {
	switch kind {
	case record.KindMessage:
		return s.applyMessage(body, lsn)
	case record.KindAck:
		return s.applyAck(body)
	case record.KindDelivered:
		return s.applyDelivered(body, lsn)
	case record.KindCursorCreate:
		return s.applyCursorCreate(body, lsn)
	case record.KindCursorDrop:
		c, err := record.DecodeCursorRef(body)
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
			s.addStream(&info, true, lsn)
		}
		return err
	case record.KindStreamDrop:
		c, err := record.DecodeCursorRef(body)
		if err == nil && s.recovering {
			delete(s.streams, c.Stream)
		}
		return err
	case record.KindSession, record.KindSessionDrop, record.KindSubscription,
		record.KindSubscriptionDrop, record.KindValue:
		if s.recovering {
			return s.applySession(kind, body)
		}
		return nil
	case record.KindRelease:
		o, err := record.DecodeOnce(body)
		if err == nil && s.recovering {
			s.forget(o)
		}
		return err
	default:
		return fmt.Errorf("kind %d: %w", kind, record.ErrVersion)
	}
}

func (s *Shard) applyMessage(body []byte, lsn record.LSN) error {
	m := &s.msg
	if err := record.DecodeMessage(body, m); err != nil {
		return err
	}
	if s.recovering && m.Once.Session != 0 {
		s.remember(m.Once, lsn)
	}
	for i := range m.NumStreams() {
		st := s.streams[m.StreamAt(i)]
		if st == nil || lsn < st.since {
			continue // dropped since it was routed
		}
		st.refs.Append(lsn)
		if !st.touched && !s.recovering {
			st.touched = true
			s.touched = append(s.touched, st)
		}
	}
	if m.Retain {
		s.retain(m, lsn)
	}
	return nil
}

// retain makes the message the retained value of its topic; an empty payload
// removes the value.
func (s *Shard) retain(m *record.Message, lsn record.LSN) {
	topics := s.retained[string(m.Namespace)]
	if len(m.Payload) == 0 {
		if topics != nil {
			topics.Delete(string(m.Key))
		}
		return
	}
	if topics == nil {
		topics = route.NewTopics[record.LSN]()
		s.retained[string(m.Namespace)] = topics
	}
	topics.Put(string(m.Key), lsn)
}

// applyAck settles ranges while recovering. On a live shard the cursor was
// settled when the consumer said so, and the record only makes it last.
func (s *Shard) applyAck(body []byte) error {
	if !s.recovering {
		return nil
	}
	if err := record.DecodeAck(body, &s.ack); err != nil {
		return err
	}
	if st := s.streams[s.ack.Stream]; st != nil {
		if p := st.place(s.ack.Cursor); p != nil {
			p.cur.Apply(s.ack.Ranges, st.refs.End())
			st.trim(p)
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
	if st := s.streams[c.Stream]; st != nil && st.queue == nil && lsn >= st.since {
		st.addPlace(c.Cursor, true)
	}
	return nil
}

// deliver dispatches every touched stream and wakes who got something.
func (s *Shard) deliver() {
	for _, st := range s.touched {
		st.touched = false
		s.dispatch(st)
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

// dispatch assigns what a queue has to its consumers, and remembers the readers
// of a filter's stream for deliver to wake.
func (s *Shard) dispatch(st *stream) {
	if st.queue == nil {
		for _, p := range st.places {
			if p.reader != nil && !p.reader.woken {
				p.reader.woken = true
				s.wokenReader = append(s.wokenReader, p.reader)
			}
		}
		return
	}
	end := st.refs.End()
	s.wokenBy(st.queue.Dispatch(end, st.self.limit(), st.woken[:0]), st)
	if st.queue.Consumers() > 0 {
		s.mark(st.self)
	}
}

func (s *Shard) wokenBy(woken []*queue.Consumer, st *stream) {
	for _, c := range woken {
		c.Owner.(*Consumer).notify() //nolint:errcheck,forcetypeassert // the owner is always set by Consume
	}
	clear(woken)
	st.woken = woken[:0]
}
