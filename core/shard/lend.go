package shard

import "github.com/tidegate/tidegate/core/record"

// A message of a queue that a client has begun to take exactly once is lent to it: it is in
// flight until the client says that it has it, on whichever connection. What follows is
// for those messages: the consumer that fetched one may be gone.

// lent returns the queue of a message that is not settled, if the message is the record
// that it was. mu is held, but not while the index is read.
func (s *Shard) lent(id record.StreamID, o record.Offset, lsn record.LSN) (*stream, record.Offset, error) {
	for {
		st := s.streams[id]
		if st == nil || st.queue == nil {
			return nil, 0, ErrNotFound
		}
		of, in := st.at(o)
		if in >= of.refs.End() || of.queue.Settled(in) {
			return nil, 0, ErrNotFound
		}
		at, ok, err := of.ref(in)
		if err == nil && (!ok || at != lsn) {
			err = ErrNotFound
		}
		if err == nil {
			return of, in, nil
		}
		if err = s.bring(err, uint64(id), nil); err != nil {
			return nil, 0, err
		}
	}
}

// Lend marks a message as in flight, at a start and before the queue has consumers.
// ErrNotFound: it is settled, or its queue is gone.
func (s *Shard) Lend(id record.StreamID, o record.Offset, lsn record.LSN) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, in, err := s.lent(id, o, lsn)
	if err == nil && !st.queue.Reserve(in, st.refs.End()) {
		err = ErrNotFound
	}
	return err
}

// Lent tells whether a message is unsettled and the record that it was: else ErrNotFound.
func (s *Shard) Lent(id record.StreamID, o record.Offset, lsn record.LSN) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, err := s.lent(id, o, lsn)
	return err
}

// EndLent settles a message that was lent, or gives it back to its place. ErrNotFound as
// with Lend.
func (s *Shard) EndLent(id record.StreamID, o record.Offset, lsn record.LSN, giveBack bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, in, err := s.lent(id, o, lsn)
	if err != nil {
		return err
	}
	if giveBack {
		s.returnTaken(st, in)
	} else {
		st.queue.Settle(in)
	}
	s.moved(st)
	return nil
}

// Unassign takes back what was assigned to the consumer and not fetched.
func (c *Consumer) Unassign() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.gone {
		return
	}
	c.st.queue.Unassign(c.c)
	c.s.endReturned(c.st)
	c.s.dispatch(c.st)
}
