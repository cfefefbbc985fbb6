package shard

import (
	"iter"
	"slices"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// A queue of several priorities has a stream for each of them that is in use: its own
// for 0, and for the others streams whose ids tell the priority. Each is the stream of
// a queue, with references, a cursor, acks, deadlines, sizes and dead of its own. The
// consumers, the settings and the limits are those of the queue's own stream, its head.

const priorityShift = 55

// PriorityBits are those of a stream's id that tell the priority. They are 0 in the id
// of a queue that may have several.
const PriorityBits record.StreamID = 0xff << priorityShift

// PriorityStream is the id of a queue's stream for a priority.
func PriorityStream(id record.StreamID, priority uint8) record.StreamID {
	return id | record.StreamID(priority)<<priorityShift
}

// PriorityOf is the priority that an id tells, if it is of a queue that may have several.
func PriorityOf(id record.StreamID) uint8 { return uint8(id & PriorityBits >> priorityShift) }

// priorities tie the streams of a queue together. mu of the shard guards them.
type priorities struct {
	own  uint8
	head *stream
	// all is of the head alone.
	all *allPriorities
}

// allPriorities are the streams of a queue. What has changed in which of them is
// noted, so that an ack costs the same however many are in use.
type allPriorities struct {
	above []*stream // those above 0, by falling priority
	by    []*stream // the same by priority, nil where none is
	// ready has all that may have messages to hand out, acked all that may have acks
	// that the log was not asked for.
	ready, acked queue.Priorities
}

// touch notes that something changed in the stream of a queue.
func (st *stream) touch() {
	if st.priorities != nil {
		all := st.priorities.head.priorities.all
		all.ready.Add(st.priorities.own)
		all.acked.Add(st.priorities.own)
	}
}

// collect notes what changed by what consumers settled and gave back. st is a head.
func (st *stream) collect() *allPriorities {
	all, touched := st.priorities.all, st.queue.Touched()
	all.ready.AddAll(&touched)
	all.acked.AddAll(&touched)
	return all
}

// of returns the stream for a priority; nil when there is none. st is a head.
func (st *stream) of(priority uint8) *stream {
	by := st.priorities.all.by
	switch {
	case priority == 0:
		return st
	case int(priority) < len(by):
		return by[priority]
	default:
		return nil
	}
}

// head returns the stream that has the queue's consumers, settings and limits.
func (st *stream) head() *stream {
	if st.priorities == nil {
		return st
	}
	return st.priorities.head
}

// above returns the streams of a queue for priorities above 0, the highest first.
func (st *stream) above() []*stream {
	if st.priorities == nil || st.priorities.all == nil {
		return nil
	}
	return st.priorities.all.above
}

// priority is that of the messages of a stream.
func (st *stream) priority() uint8 {
	if st.priorities == nil {
		return 0
	}
	return st.priorities.own
}

// everyPriority ranges over the streams of a queue, the lowest priority first.
func (st *stream) everyPriority() iter.Seq[*stream] {
	return func(yield func(*stream) bool) {
		if !yield(st) {
			return
		}
		for _, up := range slices.Backward(st.above()) {
			if !yield(up) {
				return
			}
		}
	}
}

// at returns the stream of what a consumer of the queue has, and the offset there.
func (st *stream) at(o record.Offset) (*stream, record.Offset) {
	if st.priorities == nil {
		return st, o
	}
	in, priority := queue.SplitPriority(o)
	of := st.of(priority)
	if of == nil {
		return st, o
	}
	of.touch()
	return of, in
}

// next returns the stream of the message that is delivered next, and its offset there.
func (st *stream) next() (*stream, record.Offset, bool) {
	for _, up := range st.above() {
		if o, some := up.queue.Peek(up.refs.End()); some {
			return up, o, true
		}
	}
	o, some := st.queue.Peek(st.refs.End())
	return st, o, some
}

// waiting is how much waits in all of a queue.
func (st *stream) waiting() (messages, bytes uint64) {
	messages, bytes = st.queue.Ready(st.refs.End()), st.queue.ReadyBytes()
	for _, up := range st.above() {
		messages += up.queue.Ready(up.refs.End())
		bytes += up.queue.ReadyBytes()
	}
	return messages, bytes
}

// marking tells whether some delivery mark of a queue is on its way through the log.
func (st *stream) marking() bool {
	return st.self.marking || slices.ContainsFunc(st.above(), func(up *stream) bool { return up.self.marking })
}

// markAll is mark for all priorities of a queue, all of which are looked at for a
// consumer that is new.
func (s *Shard) markAll(st *stream) {
	s.mark(st.self)
	for _, up := range st.above() {
		s.mark(up.self)
		up.touch()
	}
}

// assignAll is assign for a queue of several priorities.
func (s *Shard) assignAll(st *stream) {
	all := st.collect()
	if st.queue.Consumers() == 0 {
		return
	}
	woken := s.woke[:0]
	for priority, some := all.ready.Highest(); some; priority, some = all.ready.Highest() {
		of := st.of(priority)
		var empty bool
		woken, empty = st.queue.DispatchFrom(of.source(), woken)
		s.mark(of.self)
		if !empty {
			break
		}
		all.ready.Remove(priority)
	}
	st.queue.EndDispatch(woken)
	s.wokenBy(woken)
}

// settledAll asks the log for the acks of all priorities above 0. st is a head.
func (s *Shard) settledAll(st *stream) {
	all := st.collect()
	for priority, some := all.acked.Highest(); some; priority, some = all.acked.Highest() {
		all.acked.Remove(priority)
		if up := st.of(priority); up != st && up.queue.HasAcks() {
			s.settled(up.self)
			up.trim(up.self)
		}
	}
}

func (st *stream) source() queue.Source {
	return queue.Source{
		Priority: st.priority(), Cursor: &st.queue.Cursor, End: st.refs.End(), Limit: st.self.limit(),
	}
}

// shortenAll is shorten for a queue of several priorities: the oldest of the lowest
// priority go first.
func (s *Shard) shortenAll(st *stream) {
	for of := range st.everyPriority() {
		messages, bytes := st.waiting()
		if !st.limits.bounds.Over(messages, bytes) {
			return
		}
		others := st.limits.bounds.Beside(messages-of.queue.Ready(of.refs.End()), bytes-of.queue.ReadyBytes())
		s.shortenTo(of, &others)
	}
}

// OpenPriority makes a queue's stream for a priority above 0, if it is not there. When
// it returns, the log has that for good, so that what another shard decides finds it.
// ErrNotFound when there is no such queue.
func (s *Shard) OpenPriority(id record.StreamID, priority uint8) error {
	up, err := s.openPriority(id, priority)
	if err != nil || !up.durable {
		return err
	}
	return s.Await(up.since)
}

func (s *Shard) openPriority(id record.StreamID, priority uint8) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return nil, ErrNotFound
	}
	info := st.info
	info.ID = PriorityStream(id, priority)
	if up := s.streams[info.ID]; up != nil && up.head() == st {
		return up, up.countBytes(st.queue.CountsBytes()) // which may have failed before
	}
	if err := s.createStream(info, st.durable); err != nil {
		return nil, err
	}
	up := s.streams[info.ID]
	err := up.countBytes(st.queue.CountsBytes())
	s.join(st, up, priority)
	if st.returns != nil {
		up.countReturns(true, st.returns.most)
	}
	up.configured = st.configured
	s.wantDead(up, st.graves != nil && st.graves.wanted)
	s.dispatch(st)
	return up, err
}

// join makes a stream that of one of the queue's priorities. mu is held.
func (s *Shard) join(st, up *stream, priority uint8) {
	if st.priorities == nil {
		st.priorities = &priorities{head: st, all: new(allPriorities)}
		st.touch()
	}
	up.priorities = &priorities{own: priority, head: st}
	all := st.priorities.all
	i := 0
	for i < len(all.above) && all.above[i].priorities.own > priority {
		i++
	}
	all.above = slices.Insert(all.above, i, up)
	for len(all.by) <= int(priority) {
		all.by = append(all.by, nil)
	}
	all.by[priority] = up
	up.touch()
	st.queue.SetPriority(priority, &up.queue.Cursor)
}

// joinAll finds the streams of a queue's priorities again, after a start. mu is held.
func (s *Shard) joinAll(st *stream, highest uint8) {
	for priority := 1; priority <= int(highest); priority++ {
		up := s.streams[PriorityStream(st.id, uint8(priority))]
		if up == nil || up.head() == st {
			continue
		}
		info := st.info
		info.ID = up.id
		if up.queue != nil && (sameButName(&up.info, &info) || s.adopt(up, &info)) {
			s.join(st, up, uint8(priority))
		}
	}
}

// DropQueue ends a queue's stream and those of its priorities, and returns their ids: all
// that there were, however many were made just before.
func (s *Shard) DropQueue(id record.StreamID) ([]record.StreamID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []record.StreamID{id}
	st := s.streams[id]
	if st == nil {
		return all, nil
	}
	for _, up := range st.above() {
		all = append(all, up.id)
	}
	_, err := s.dropAll(st)
	return all, err
}
