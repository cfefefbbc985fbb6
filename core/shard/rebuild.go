package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// progressEvery is how often a rebuild tells how far it is.
const progressEvery = 3 * time.Second

// rebuild is the making of an index that is lost, from all segments of the log
// and the published offsets. While the log was never trimmed that is a replay of
// it. Else messages of rewritten segments carry their offsets, ENDS tells those of
// the first original ones behind each gap, acks that were left out come from the
// published offsets, and every unsettled message counts as possibly delivered.
//
// The store has no AppliedKey before the rebuild is complete: one that a crash
// has ended begins anew.
type rebuild struct {
	ends   ends
	row    record.LSN                     // behind the records that offsets can be counted over
	last   map[record.StreamID]record.LSN // references
	gaps   bool                           // something of the log is gone, or was rewritten
	places []record.Place
	begun  time.Time
	told   time.Time
	done   uint64 // records
}

// beginRebuild empties the store.
func (s *Shard) beginRebuild(fs vfs.FS) error {
	ends, err := readEnds(fs, s.cfg.Dir, s.cfg.Identity)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	s.recounted = ends.recounted
	s.rebuild = &rebuild{
		ends: ends, row: 1, begun: now, told: now,
		last: map[record.StreamID]record.LSN{},
	}
	var wipe index.Batch
	wipe.Delete(index.AppliedKey)
	wipe.Delete(index.RecountedKey)
	for _, prefix := range index.AllPrefixes {
		wipe.DeletePrefix(prefix)
	}
	wipe.Set(index.MarkedKey, index.AppendLSN(nil, 0))
	wipe.Set(index.SizedKey, nil)
	wipe.Set(index.FormatKey, index.AppendFormat(nil, s.cfg.Identity))
	return s.store.Commit(&wipe)
}

// meets notes a batch of the log that a rebuild has come to. last is where the
// last segment begins.
func (r *rebuild) meets(s *Shard, b *record.Batch, last record.LSN) {
	if b.Base != s.Committed()+1 || b.Sparse != nil {
		r.gaps = true
	}
	r.count(s, b)
	r.done += uint64(b.Len())
	if now := s.clock.Now(); now.Sub(r.told) >= progressEvery {
		r.told = now
		s.logger.Info("rebuilding the index", slog.Any("shard", s.cfg.Identity.Shard),
			slog.Uint64("percent", min(99, uint64(b.Next())*100/uint64(max(last, b.Next(), 1)))),
			slog.Uint64("records", r.done))
	}
}

// refer gives a stream, the i-th of a message, its reference to it, and tells
// its offset; false when the stream does not have the message any more. In a
// rebuild that is at the place that a rewritten segment tells, else and always at
// the next offset.
func (s *Shard) refer(st *stream, lsn record.LSN, places []record.Place, i int) (record.Offset, bool, error) {
	if s.rebuild == nil {
		s.counted(st)
		return st.refs.Append(lsn), true, nil
	}
	var to record.Offset
	var live bool
	if places != nil {
		to, live = places[i].Offset()
	} else {
		to, live = s.rebuild.next(st, lsn)
	}
	// A place before the stream's end is one in a later stream of this id, of which
	// the log has nothing but the end: it was made behind an end that is left out as
	// well, since a newer one follows.
	if !live || st.kept != nil && to < s.rebuild.low(st) || places != nil && to < st.refs.End() {
		return 0, false, nil
	}
	if err := s.skip(st, to); err != nil {
		return 0, false, fmt.Errorf("message of stream %x: %w", uint64(st.id), err)
	}
	if places != nil && s.rebuild.ends.there {
		s.trustOffsets(st.id, to)
	}
	s.counted(st)
	s.rebuild.last[st.id] = lsn
	return st.refs.Append(lsn), true, nil
}

// next returns the offset of an original message's reference; false for one that
// was settled before what preceded it was dropped.
func (r *rebuild) next(st *stream, lsn record.LSN) (record.Offset, bool) {
	to := st.refs.End()
	for _, e := range r.ends.of[st.id] {
		switch {
		case e.since != st.since || e.from > lsn:
		case lsn < e.at:
			return 0, false
		default:
			to = max(to, e.offset)
		}
	}
	return to, true
}

// skip makes the offset the stream's next. What lies between is settled by all.
func (s *Shard) skip(st *stream, to record.Offset) error {
	from, before := st.refs.End(), s.rebuild.last[st.id]
	if to == from {
		return nil
	}
	if to < from {
		return fmt.Errorf("offset %d comes after %d: %w", to, from-1, record.ErrCorrupt)
	}
	if st.kept != nil {
		if err := st.kept.hole(from, to); err != nil {
			return err
		}
	}
	s.checkpoint.refs += int(min(to-from, index.ChunkLen)) // the memory that it takes
	idle := st.refs.Low() == from
	switch {
	case to-from <= index.ChunkLen:
		st.refs.Fill(to, before)
	case idle:
		st.refs.Skip(to, before)
	default:
		if err := s.skipFar(st, to, before); err != nil {
			return err
		}
	}
	hole := []record.Range{{First: from, End: to}}
	for p := range st.everyPlace() {
		p.cur.Apply(hole, to)
		s.changedPlace(p)
		st.trim(p)
	}
	if idle {
		st.refs.Trim(to)
	}
	s.changedStream(st)
	return nil
}

// skipFar is skip over chunks that nobody needs, behind one that somebody does.
// Nothing is read back before the rebuild is complete, so what is on its way to
// the store counts as there.
func (s *Shard) skipFar(st *stream, to record.Offset, before record.LSN) error {
	st.refs.Fill((st.refs.End()+index.ChunkLen-1)&^(index.ChunkLen-1), before)
	var value []byte
	if err := s.gatherStream(st, &value); err != nil {
		return err
	}
	st.spilled()
	value = index.AppendChunk(value[:0], []record.LSN{before})
	for no := uint64(st.refs.End()) / index.ChunkLen; no < uint64(to)/index.ChunkLen; no++ {
		s.pending.Set(index.ChunkKey(st.id, no), value)
		if s.pending.Size() >= spillBytes {
			if err := s.store.Commit(&s.pending); err != nil {
				return err
			}
			s.pending.Reset()
		}
	}
	st.refs.Skip(to, before)
	return nil
}

// endRebuild puts the published offsets on top of the log's acks, which they may
// be older or newer than, and says what may have been delivered. The log is open.
func (s *Shard) endRebuild(published func(fn func(*CursorState)) error) error {
	r := s.rebuild
	s.committed.Store(uint64(s.log.NextLSN() - 1))
	if s.Committed() < r.ends.highest {
		return fmt.Errorf("log ends at %d, %s tells of record %d: %w", s.Committed(), endsName, r.ends.highest, commitlog.ErrBehind)
	}
	if s.Committed() == 0 {
		s.rebuild = nil
		return s.beginsNew(published)
	}
	r.gaps = r.gaps || s.log.FirstLSN() != 1
	if r.gaps && !r.ends.there && !r.ends.givenUp {
		s.logger.Warn("index rebuilt without the ends of streams: what was settled may come again", slog.Any("shard", s.cfg.Identity.Shard),
			slog.String("missing", endsName))
	}
	for id, ends := range r.ends.of {
		st := s.streams[id]
		for i := range ends {
			if st == nil || ends[i].since != st.since || ends[i].offset <= st.refs.End() {
				continue
			}
			if err := s.skip(st, ends[i].offset); err != nil {
				return err
			}
		}
	}
	used, refused, last := 0, 0, record.LSN(0)
	if published != nil {
		err := published(func(c *CursorState) {
			last = max(last, c.LSN)
			if s.settlePublished(c) {
				used++
			} else {
				refused++
			}
		})
		if err != nil {
			s.logger.Warn("index rebuilt without published offsets: what was settled may come again",
				slog.Any("shard", s.cfg.Identity.Shard), slog.Any("error", err))
		}
	}
	if err := s.reachesPublished(s.Committed(), last, offsetsTell); err != nil {
		return err
	}
	if r.gaps {
		s.doubtAll()
	}
	if err := s.store.Commit(&s.pending); err != nil { // chunks that skipFar gave away
		return err
	}
	s.pending.Reset()
	s.rebuild = nil
	s.logger.Info("index rebuilt", slog.Any("shard", s.cfg.Identity.Shard), slog.Uint64("records", r.done),
		slog.Int("streams", len(s.streams)), slog.Int("published_cursors", used), slog.Int("ignored_cursors", refused),
		slog.Bool("log_is_whole", !r.gaps),
		slog.Bool("offsets_are_sure", s.unsure == nil), slog.Duration("took", s.clock.Now().Sub(r.begun)))
	return nil
}

// beginsNew asks whether a log without a record is that of a new shard, or has lost all
// that it had. Without an answer it does not begin: what is published of records that
// the log had would come to tell of others with their numbers. The answer is kept: a
// checkpoint says that there was no record yet, and the next start need not ask.
func (s *Shard) beginsNew(published func(fn func(*CursorState)) error) error {
	last := record.LSN(0)
	if published != nil {
		if err := published(func(c *CursorState) { last = max(last, c.LSN) }); err != nil {
			return fmt.Errorf("log of shard %d and its index are empty or missing, and published offsets, which tell whether "+
				"they had records, can't be read; start again when the metadata can: %w", s.cfg.Identity.Shard, err)
		}
	}
	if err := s.reachesPublished(s.Committed(), last, offsetsTell); err != nil {
		return err
	}
	s.pending.Set(index.AppliedKey, index.AppendLSN(nil, 0))
	err := s.store.Commit(&s.pending)
	s.pending.Reset()
	return errors.Join(err, s.store.Flush())
}

// settlePublished settles what a published cursor tells; false when there is no
// such cursor, or not any more, or when it tells of records that the log has
// lost. What lies beyond the stream's end is left out.
func (s *Shard) settlePublished(c *CursorState) bool {
	st := s.streams[c.Stream]
	if n := s.strays.other[c.Stream]; st == nil && n > 0 {
		delete(s.strays.other, c.Stream) // once for all cursors
		s.logger.Error("messages of a stream whose beginning the log has lost are not delivered",
			slog.Any("shard", s.cfg.Identity.Shard), slog.Uint64("stream", uint64(c.Stream)), slog.Uint64("messages", n))
	}
	if st == nil || c.LSN < st.since || c.LSN > s.Committed() || c.LSN <= s.recounted {
		return false // of an earlier stream of this id, of none, of another log, or of an earlier count
	}
	p := st.place(c.Cursor)
	if p == nil || st.self != nil && c.Cursor != 0 {
		return false
	}
	if st.kept != nil && c.LSN < st.kept.groups[c.Cursor].info.Since {
		return false // of an earlier group of this name, or from before a seek
	}
	s.settleSure(p, append([]record.Range{{First: 0, End: c.Floor}}, c.Ranges...))
	return true
}

// doubtAll makes every unsettled message one that may have been delivered.
func (s *Shard) doubtAll() {
	for _, st := range s.streams {
		for p := range st.everyPlace() {
			p.cur.Doubt(st.refs.End())
			s.changedPlace(p)
		}
	}
}

// loadable tells whether the store holds a state to begin with. One of an older
// format, or none, is to be rebuilt.
func (s *Shard) loadable() (bool, error) {
	_, err := s.store.Get(index.AppliedKey)
	if errors.Is(err, index.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := s.store.Get(index.SizedKey); errors.Is(err, index.ErrNotFound) {
		s.logger.Warn("index without the sizes of messages, will be rebuilt", slog.Any("shard", s.cfg.Identity.Shard))
		return false, nil
	} else if err != nil {
		return false, err
	}
	format, err := s.store.Get(index.FormatKey)
	if err != nil && !errors.Is(err, index.ErrNotFound) {
		return false, err
	}
	if index.OlderFormat(format) {
		s.logger.Warn("index of an older format, will be rebuilt", slog.Any("shard", s.cfg.Identity.Shard))
		return false, nil
	}
	if err := index.CheckFormat(format, s.cfg.Identity); err != nil {
		return false, fmt.Errorf("format of the index: %w", err)
	}
	return true, nil
}
