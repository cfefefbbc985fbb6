package shard

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// consumerGroup is a cursor on a stream queue with the consumers that share it. One
// that is durable belongs to a consumer group; the others are readers, whose
// place ends with them. mu of the shard guards it.
type consumerGroup struct {
	k         *keptStream
	p         *place
	q         queue.Queue
	info      index.Group // zero but for the name of a reader
	consumers map[*GroupConsumer]struct{}
	seeking   bool // a seek record is on its way through the log: nothing is handed out
}

func newGroup(k *keptStream, id uint64, info index.Group, at record.Offset, durable bool) *consumerGroup {
	g := &consumerGroup{k: k, info: info, consumers: map[*GroupConsumer]struct{}{}}
	g.q.Cursor = *queue.NewCursor(at)
	g.p = &place{stream: k.st, id: id, cur: &g.q.Cursor, durable: durable}
	return g
}

// addGroup begins a group unless it is there.
func (k *keptStream) addGroup(id uint64, info index.Group, at record.Offset) {
	if k.groups[id] != nil {
		return
	}
	g := newGroup(k, id, info, min(max(at, k.st.refs.Low()), k.st.refs.End()), true)
	k.groups[id] = g
	k.all = append(k.all, g)
	k.st.places.put(g.p)
	k.st.s.changedPlace(g.p)
}

// remove takes a group or a reader out.
func (k *keptStream) remove(g *consumerGroup) {
	if g == nil {
		return
	}
	k.all = slices.DeleteFunc(k.all, func(other *consumerGroup) bool { return other == g })
	if g.p.durable {
		delete(k.groups, g.p.id)
	}
}

// restore sets a group's cursor as a checkpoint has it.
func (k *keptStream) restore(id uint64, cur *queue.Cursor) error {
	g := k.groups[id]
	if g == nil {
		return fmt.Errorf("cursor %x of stream %x has no group: %w", id, uint64(k.st.id), record.ErrCorrupt)
	}
	g.q.Cursor = *cur
	g.q.Skip(k.st.refs.Low())
	return nil
}

// skip passes over what the stream does not have any more.
func (g *consumerGroup) skip() {
	if low := g.k.st.refs.Low(); g.q.Floor() < low {
		g.q.Skip(low)
		g.k.st.s.changedPlace(g.p)
	}
}

// cancel tells all consumers that the stream is gone.
func (g *consumerGroup) cancel() {
	g.p.gone = true
	for c := range g.consumers {
		g.q.Remove(c.c)
		c.leave()
		c.cancelled()
	}
	clear(g.consumers)
}

// dispatch hands what the stream has to the group's consumers.
func (s *Shard) dispatchGroup(g *consumerGroup) {
	if g.q.Consumers() == 0 || g.p.gone || g.seeking {
		return
	}
	woken := g.q.Dispatch(g.k.st.refs.End(), g.p.limit(), s.woke[:0])
	for _, c := range woken {
		c.Owner.(*GroupConsumer).notify() //nolint:errcheck,forcetypeassert // the owner is always set by ConsumeKept
	}
	clear(woken)
	s.woke = woken[:0]
	s.mark(g.p)
}

// dispatchKept does so for all groups and readers.
func (s *Shard) dispatchKept(k *keptStream) {
	for _, g := range k.all {
		s.dispatchGroup(g)
	}
}

// applyGroup begins a group.
func (s *Shard) applyGroup(body []byte, lsn record.LSN) error {
	r, err := record.DecodeGroup(body)
	if err != nil {
		return err
	}
	st := s.streamOf(r.Stream, lsn)
	if st != nil && st.kept != nil && lsn >= st.since && st.kept.groups[r.Cursor] == nil {
		info := index.Group{Created: lsn, Since: lsn, Name: r.Name}
		st.kept.addGroup(r.Cursor, info, s.sureBelow(r.Stream, r.Offset, lsn))
		s.says(index.CursorThing(r.Stream, r.Cursor), lsn)
		s.pending.Set(index.GroupKey(r.Stream, r.Cursor), index.AppendGroup(nil, &info))
	}
	return nil
}

// applySeek sets a group's cursor to another offset: all from there on is not
// settled, and nothing is marked as delivered.
func (s *Shard) applySeek(body []byte, lsn record.LSN) error {
	r, err := record.DecodeCursorRef(body)
	if err != nil {
		return err
	}
	st := s.streams[r.Stream]
	if st == nil || st.kept == nil || lsn < st.since {
		return nil
	}
	if g := st.kept.groups[r.Cursor]; g != nil {
		g.seeking = false
		g.info.Since = lsn
		s.pending.Set(index.GroupKey(r.Stream, r.Cursor), index.AppendGroup(nil, &g.info))
		at := s.sureBelow(r.Stream, r.Offset, lsn)
		g.q.Cursor = *queue.NewCursor(min(max(at, st.refs.Low()), st.refs.End()))
		s.changedPlace(g.p)
		if !s.recovering {
			s.unpublish(g.p) // what is published tells of what was settled before
			s.dispatchGroup(g)
		}
	}
	return nil
}

// GroupStats is how far a consumer group has got.
type GroupStats struct {
	Name      string
	Floor     record.Offset // everything below is settled
	Low, End  record.Offset // of the stream
	Lag       uint64        // messages that are not settled
	Unsettled uint64        // part of Lag: handed out
	Consumers int
}

// Groups returns the consumer groups of a stream queue by name.
func (s *Shard) Groups(id record.StreamID) ([]GroupStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil {
		return nil, ErrNotFound
	}
	var all []GroupStats
	end := st.refs.End()
	for _, g := range st.kept.groups {
		all = append(all, GroupStats{
			Name: g.info.Name, Floor: g.q.Floor(), Low: st.refs.Low(), End: end,
			Lag: g.q.Ready(end) + g.q.Unsettled(), Unsettled: g.q.Unsettled(), Consumers: g.q.Consumers(),
		})
	}
	slices.SortFunc(all, func(a, b GroupStats) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// SeekGroup sets a group's cursor to where start says, once the log has it.
// ErrBusy while the group has consumers, or messages in flight.
func (s *Shard) SeekGroup(ctx context.Context, id record.StreamID, cursor uint64, start Start) error {
	at, err := s.resolve(id, start)
	if err != nil {
		return err
	}
	lsn, err := s.seek(id, cursor, at)
	if err != nil {
		return err
	}
	return s.Wait(ctx, lsn)
}

func (s *Shard) seek(id record.StreamID, cursor uint64, at record.Offset) (record.LSN, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil || st.kept.groups[cursor] == nil {
		return 0, ErrNotFound
	}
	g := st.kept.groups[cursor]
	if g.seeking || g.q.Consumers() > 0 || g.q.Unsettled() > 0 {
		return 0, ErrBusy
	}
	s.amu.Lock()
	defer s.amu.Unlock()
	s.gatherAcks() // what was settled before is before it in the log
	ref := record.CursorRef{Stream: id, Cursor: cursor, Offset: at}
	lsn, err := s.appendLocked(record.KindSeek, record.AppendCursorRef(nil, ref), nil)
	g.seeking = err == nil
	return lsn, err
}

// DropGroup ends a consumer group and returns the LSN to wait for. ErrBusy while
// it has consumers.
func (s *Shard) DropGroup(id record.StreamID, cursor uint64) (record.LSN, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil || st.kept.groups[cursor] == nil {
		return 0, ErrNotFound
	}
	if st.kept.groups[cursor].q.Consumers() > 0 {
		return 0, ErrBusy
	}
	st.dropPlace(cursor)
	ref := record.CursorRef{Stream: id, Cursor: cursor}
	return s.Append(record.KindCursorDrop, record.AppendCursorRef(nil, ref), nil)
}
