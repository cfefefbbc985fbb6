package shard

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

const (
	// markStep is how many offsets a delivery mark covers: after a crash as many
	// messages, at most, come marked as redelivered though they never went out.
	markStep = 8192
	// trimStep is how many references a stream with many cursors gathers before
	// it looks for those that all of them have settled.
	trimStep = 4096
	// noLimit is above every offset.
	noLimit = record.Offset(math.MaxUint64)
)

// stream is an ordered list of references with its cursors. mu guards it.
type stream struct {
	s       *Shard
	id      record.StreamID
	info    record.Stream
	since   record.LSN // references of earlier records belong to an earlier stream of this id
	refs    index.List
	durable bool
	touched bool // in Shard.touched
	changed bool // in Shard.changed
	warm    bool // in Shard.warm
	gone    bool
	// configured tells that it is known how a queue behaves, see buries.
	configured bool
	found      bool // made again: its cursors begin at its beginning, see strays

	// A queue has one cursor that its consumers share: self. A filter's stream
	// has places instead, one per session.
	queue     *queue.Queue
	kept      *keptStream // of a stream queue, which has groups and no cursor of its own
	self      *place
	places    places
	trimmedAt record.Offset // end of the stream when trim last looked
	*ofQueue
}

// ofQueue is what only the stream of a queue or a stream queue has. Those of filters, of
// which there may be a million, need no memory for it: they share noQueue, which is never
// changed.
type ofQueue struct {
	consumers map[*Consumer]struct{} // nil while there is none
	late      late
	fresh     int          // its last in deadlines.fresh, if that is of this stream
	sizes     *queue.Sizes // of its messages; nil when the store has all that are needed
	limits    *limits      // of what waits; nil while there are none
	inflow    *inflow      // nil while nothing has come
	graves    *graves      // nil while there are none and the queue has no dead letters
	returns   *returns     // nil when they are not counted
	failures  *returns     // how often consumers failed on messages; nil while they have not
	// priorities tie the stream to the others of a queue that has several; nil
	// while it is the only one.
	priorities *priorities
}

var noQueue = new(ofQueue)

func (s *Shard) addStream(info *record.Stream, durable bool, since record.LSN) {
	if s.streams[info.ID] != nil {
		return
	}
	s.streams[info.ID] = s.newStream(info, durable, since)
	s.changedStream(s.streams[info.ID])
}

func (s *Shard) newStream(info *record.Stream, durable bool, since record.LSN) *stream {
	st := &stream{s: s, id: info.ID, info: *info, durable: durable, since: since, ofQueue: noQueue}
	if known, ok := s.namespaces[info.Namespace]; ok {
		st.info.Namespace = known // the streams share one copy
	} else {
		s.namespaces[info.Namespace] = info.Namespace
	}
	switch {
	case info.Kept:
		st.kept, st.ofQueue = newKept(st), new(ofQueue)
		s.keptStreams[info.ID] = st
	case !info.Filter:
		st.queue, st.ofQueue = new(queue.Queue), new(ofQueue)
		st.self = &place{stream: st, cur: &st.queue.Cursor, durable: durable}
	}
	return st
}

func (st *stream) place(id uint64) *place {
	switch {
	case st.self == nil:
		return st.places.get(id)
	case id != 0:
		return nil // of a stream that was taken for a queue, see adopt
	default:
		return st.self
	}
}

// addPlace makes a cursor, and tells whether it was not there.
func (st *stream) addPlace(id uint64, durable bool) bool {
	if st.places.get(id) != nil {
		return false
	}
	at := st.refs.End()
	if st.found {
		at = st.refs.Low()
	}
	p := newPlace(st, id, durable, *queue.NewCursor(at))
	st.places.put(p)
	st.s.changedPlace(p)
	return true
}

func (st *stream) dropPlace(id uint64) {
	if p := st.places.get(id); p != nil {
		p.gone = true
		st.places.drop(id)
		if st.kept != nil {
			st.kept.remove(st.kept.groups[id])
		}
	}
}

// trim forgets references that every cursor has settled, after p has moved.
func (st *stream) trim(p *place) {
	st.s.changedStream(st)
	if st.kept != nil {
		return // ends where retention says
	}
	if st.self != nil {
		st.refs.Trim(p.cur.Floor())
		if st.sizes != nil {
			st.sizes.Trim(p.cur.Floor())
		}
		return
	}
	if st.refs.End() < st.trimmedAt+trimStep && st.places.len() > 1 {
		return
	}
	st.trimmedAt = st.refs.End()
	low := st.refs.End()
	for q := range st.places.each() {
		low = min(low, q.cur.Floor())
	}
	st.refs.Trim(low)
}

// CreateStream makes a stream if it is not there. A durable one is written to
// the log; messages appended later can be routed to it at once. One that is there
// stays as it is, also when the log has it by another name: an operator may give a
// queue that the metadata lost another one. It fails when that is something else.
func (s *Shard) CreateStream(info record.Stream, durable bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.createStream(info, durable)
}

// createStream is CreateStream with mu held.
func (s *Shard) createStream(info record.Stream, durable bool) error {
	if st := s.streams[info.ID]; st != nil {
		if !sameButName(&st.info, &info) && (!durable || !s.adopt(st, &info)) {
			return fmt.Errorf("stream %x of %q is already %q of %q",
				uint64(info.ID), info.Name, st.info.Name, st.info.Namespace)
		}
		st.info.Name = info.Name // one copy, that of who knows the stream too
		return nil
	}
	s.amu.Lock()
	defer s.amu.Unlock()
	since := s.open.Base + record.LSN(s.open.Len())
	if durable {
		if _, err := s.appendLocked(record.KindStreamCreate, record.AppendStream(nil, &info), nil); err != nil {
			return err
		}
	}
	s.addStream(&info, durable, since)
	s.streams[info.ID].configured = true // until it is told otherwise
	return nil
}

// sameButName tells whether two streams are the same, those of queues but for their
// names; without any it is not known yet what a stream is.
func sameButName(a, b *record.Stream) bool {
	named := *b
	if !a.Filter && a.Name != "" && b.Name != "" {
		named.Name = a.Name
	}
	return *a == named
}

// DropStream removes a stream with its references and cursors, and those of the
// queue's priorities. Its consumers are told. The result is the LSN to wait for, 0 for
// a transient stream.
func (s *Shard) DropStream(id record.StreamID) (record.LSN, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil {
		return 0, nil
	}
	return s.dropAll(st)
}

// dropAll ends a stream and those of its priorities. mu is held.
func (s *Shard) dropAll(st *stream) (record.LSN, error) {
	for _, up := range st.above() {
		if _, err := s.dropStream(up); err != nil {
			return 0, err
		}
	}
	return s.dropStream(st)
}

// dropStream is DropStream for one stream. mu is held.
func (s *Shard) dropStream(st *stream) (record.LSN, error) {
	id := st.id
	delete(s.streams, id)
	delete(s.keptStreams, id)
	st.gone = true
	if st.kept != nil {
		st.kept.drop()
	}
	for p := range st.places.each() {
		p.gone = true
	}
	if st.self != nil {
		st.self.gone = true
	}
	for c := range st.consumers {
		st.queue.Remove(c.c)
		c.leave()
		if c.cancelled != nil {
			c.cancelled()
		}
	}
	if st.consumers != nil {
		st.consumers = nil
	}
	if !st.durable {
		s.pending.DeletePrefix(index.TransientKey(id))
		s.pending.DeletePrefix(index.TransientSizesOfKey(id))
		return 0, nil
	}
	return s.Append(record.KindStreamDrop, record.AppendCursorRef(nil, record.CursorRef{Stream: id}), nil)
}

// QueueStats are the sizes of a queue.
type QueueStats struct {
	Ready, Unsettled uint64
	Consumers        int
	// Came counts the messages that came since the start, CameAt is when the last of
	// them did, in milliseconds since 1970; 0 when none has.
	Came   uint64
	CameAt int64
}

// inflow counts the messages that come.
type inflow struct {
	count uint64
	at    int64 // milliseconds since 1970
}

// takesIn counts a message that has come just now. mu is held.
func (st *stream) takesIn() {
	if st.queue == nil && st.kept == nil {
		return
	}
	if st.inflow == nil {
		st.inflow = new(inflow)
	}
	st.inflow.count++
	st.inflow.at = st.s.applyTime
}

// came adds what has come to the stream. mu is held.
func (q *QueueStats) came(st *stream) {
	if st.inflow != nil {
		q.Came += st.inflow.count
		q.CameAt = max(q.CameAt, st.inflow.at)
	}
}

// QueueStats returns the sizes of a queue's stream. What waits for its
// consumer to fetch it counts as unsettled.
func (s *Shard) QueueStats(id record.StreamID) (QueueStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endDue()
	st := s.streams[id]
	if st != nil && st.kept != nil {
		stats := st.kept.stats()
		stats.came(st)
		return stats, nil
	}
	if st == nil || st.queue == nil {
		return QueueStats{}, ErrNotFound
	}
	stats := QueueStats{Consumers: st.queue.Consumers()}
	stats.Ready, _ = st.waiting()
	for of := range st.everyPriority() {
		stats.Unsettled += of.queue.Unsettled()
		stats.came(of)
	}
	return stats, nil
}

// Purge settles all messages of a queue that are not in flight. It returns
// their number and the LSN to wait for.
func (s *Shard) Purge(id record.StreamID) (n uint64, lsn record.LSN, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return 0, 0, ErrNotFound
	}
	for of := range st.everyPriority() {
		purged, acked, err := s.purge(of)
		if err != nil {
			return n, lsn, err
		}
		n, lsn = n+purged, max(lsn, acked)
	}
	return n, lsn, nil
}

// purge is Purge for one stream. mu is held.
func (s *Shard) purge(st *stream) (uint64, record.LSN, error) {
	n := st.queue.Purge(st.refs.End())
	s.changedPlace(st.self)
	st.trim(st.self)
	if n == 0 || !st.durable {
		s.settled(st.self)
		return n, 0, nil
	}
	s.ack.Stream, s.ack.Cursor, s.ack.Ranges = st.id, 0, st.queue.TakeAcks()
	s.unpublish(st.self)
	lsn, err := s.Append(record.KindAck, record.AppendAck(nil, &s.ack), nil)
	return n, lsn, err
}

// Streams returns the number of streams.
func (s *Shard) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// EachStream calls fn for every durable stream by ascending id, with the lock held.
func (s *Shard) EachStream(fn func(info record.Stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]record.StreamID, 0, len(s.streams))
	for id, st := range s.streams {
		if st.durable {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		fn(s.streams[id].info)
	}
}

// settled remembers that p has acks for the log.
func (s *Shard) settled(p *place) {
	s.changedPlace(p)
	if !p.stream.durable {
		s.flow.settled(p.cur.TakeAcks())
		return
	}
	if p.dirty || !p.cur.HasAcks() {
		return
	}
	p.dirty = true
	s.dirty = append(s.dirty, p)
	s.kickAcks()
}

// kickAcks tells the committer of the first acks and returns that it has to write.
// mu is held.
func (s *Shard) kickAcks() {
	if len(s.dirty)+len(s.returned) == 1 {
		s.wakeForAcks()
	}
}

func (s *Shard) wakeForAcks() {
	select {
	case s.ackKick <- struct{}{}:
	default: // the committer is already told
	}
}

// mark asks the log to remember that messages up to some way ahead may be
// delivered. Deliveries beyond the mark wait for it, for ever once the shard has
// failed or ends. mu is held.
func (s *Shard) mark(p *place) { _ = s.askMark(p) }

// askMark is mark for who wants to know that no mark will come.
func (s *Shard) askMark(p *place) error {
	if !p.durable || p.marking || p.cur.Next()+markStep/2 <= p.cur.Marked() {
		return nil
	}
	if s.finishing {
		return ErrClosed
	}
	ref := record.CursorRef{Stream: p.stream.id, Cursor: p.id, Offset: p.cur.Next() + markStep}
	_, err := s.Append(record.KindDelivered, record.AppendCursorRef(nil, ref), nil)
	p.marking = err == nil
	return err
}

// markExactly writes, at a clean end, what was really delivered. From now on
// nothing beyond that is: it would come again unmarked. mu is held.
func (s *Shard) markExactly() {
	s.finishing = true
	var ahead []*place
	for _, st := range s.streams {
		if st.self != nil && st.self.markedAhead() {
			ahead = append(ahead, st.self)
		}
		for p := range st.places.each() {
			if p.markedAhead() {
				ahead = append(ahead, p)
			}
		}
	}
	slices.SortFunc(ahead, func(a, b *place) int { // the log tells no map's order
		return cmp.Or(cmp.Compare(a.stream.id, b.stream.id), cmp.Compare(a.id, b.id))
	})
	for _, p := range ahead {
		s.markPlace(p)
	}
}

// markedAhead tells whether the log allows more than was delivered, or will.
func (p *place) markedAhead() bool {
	return p.durable && (p.marking || p.cur.Marked() > p.cur.Next())
}

func (s *Shard) markPlace(p *place) {
	ref := record.CursorRef{Stream: p.stream.id, Cursor: p.id, Offset: max(p.cur.Next(), p.cur.Suspect())}
	_, _ = s.Append(record.KindDelivered, record.AppendCursorRef(nil, ref), nil)
	p.cur.Mark(min(ref.Offset, p.cur.Marked()), false)
}
