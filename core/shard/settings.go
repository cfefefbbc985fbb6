package shard

import (
	"errors"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// QueueSettings say how a queue behaves. They are not in the log: whoever makes
// the stream sets them, after each start and when they change.
type QueueSettings struct {
	// Sharing says which consumers get the messages.
	Sharing queue.Sharing
	// Bounds has the first of the messages that wait dropped when there are more.
	Bounds queue.Bounds
	// Refuse has messages that would go over the bounds refused instead, where they
	// are offered, see [Shard.Offer].
	Refuse bool
	// DeadLetters has messages die that the queue gives up, for TakeDead.
	DeadLetters bool
	// Counted has it count how often a message comes back. When that is more often
	// than MaxReturns, the message is given up; below 0 is no limit.
	Counted    bool
	MaxReturns int64
	// Highest is the highest priority of messages, which never changes: 0 for a queue
	// without priorities.
	Highest uint8
}

// Configure has a queue behave as the settings say. Streams that are not there,
// and those that are no queues, are passed over. With an error, of the store, the
// queue is bounded by its length alone.
func (s *Shard) Configure(id record.StreamID, settings QueueSettings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return nil
	}
	st.queue.Share(settings.Sharing)
	s.joinAll(st, settings.Highest)
	var err error
	for of := range st.everyPriority() {
		err = errors.Join(err, of.countBytes(settings.Bounds.Weighed))
	}
	settings.Bounds.Weighed = settings.Bounds.Weighed && err == nil
	st.limit(&settings)
	for of := range st.everyPriority() {
		of.countReturns(settings.Counted, settings.MaxReturns)
		of.configured = true
		s.wantDead(of, settings.DeadLetters)
	}
	s.dispatch(st)
	return err
}

// limit sets the limits of a queue. mu is held.
func (st *stream) limit(settings *QueueSettings) {
	if settings.Bounds == (queue.Bounds{}) {
		st.limits = nil
		return
	}
	if st.limits == nil {
		st.limits = new(limits)
	}
	st.limits.bounds, st.limits.refuses = settings.Bounds, settings.Refuse
}

// shorten drops what waits beyond the queue's length, once consumers have got what
// they have room for. mu is held.
func (s *Shard) shorten(st *stream) {
	st = st.head()
	if st.limits == nil || st.limits.refuses || st.gone {
		return
	}
	if st.marking() && st.queue.Consumers() > 0 {
		return // they get some as soon as the mark is in the log; then the queue is looked at again
	}
	if st.priorities != nil {
		s.shortenAll(st)
		return
	}
	s.shortenTo(st, &st.limits.bounds)
}

// shortenTo drops the first that wait in one stream until what waits there is within
// the bounds. mu is held.
func (s *Shard) shortenTo(st *stream, within *queue.Bounds) {
	n := st.queue.Shorten(st.refs.End(), within, func(o record.Offset) bool {
		st.late.take(o)
		return s.bury(st, o, TooLong)
	})
	if n > 0 {
		s.overflowed += n
		s.endedSome(st, true)
	}
}

// Overflowed is the number of messages that were dropped since the start because
// their queues were too long.
func (s *Shard) Overflowed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overflowed
}

// Active tells whether the consumer is one that gets messages.
func (c *Consumer) Active() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return !c.gone && c.st.queue.Serves(c.c)
}
