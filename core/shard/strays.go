package shard

import (
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// A message says for which streams it is, and the record that made a stream what
// that is. Where this record was lost and given up, and the index does not have the
// stream either, the messages behind it are strays: sound, confirmed, and of a
// stream that is not there. A start makes the stream again, so that nothing of it
// is taken for settled. What it is others may know, see Deps.Stray; else it has no
// name, and is kept until CreateStream gives it one.

// strays are the streams that a start has met in the log without their creation.
type strays struct {
	known func(id record.StreamID) (record.Stream, bool)
	lost  bool       // records were lost before what is replayed now
	sure  record.LSN // ENDS tells of the gap there, and offsets can be counted since; 0 while they can't
	// ended are streams that were dropped: messages that were routed to them before
	// may follow.
	ended map[record.StreamID]struct{}
	found map[record.StreamID]*stream
	other map[record.StreamID]uint64 // messages of the streams that are not made again
}

// maxStrays bounds the streams that are remembered though they are not there.
const maxStrays = 1 << 16

func newStrays(known func(id record.StreamID) (record.Stream, bool)) *strays {
	if known == nil {
		known = func(id record.StreamID) (record.Stream, bool) { return record.Stream{ID: id}, true }
	}
	return &strays{
		known: known, ended: map[record.StreamID]struct{}{},
		found: map[record.StreamID]*stream{}, other: map[record.StreamID]uint64{},
	}
}

// end notes that a stream was dropped.
func (r *strays) end(id record.StreamID) {
	if r != nil && len(r.ended) < maxStrays {
		r.ended[id] = struct{}{}
	}
}

// nameless tells whether nobody knows what the stream is.
func nameless(info *record.Stream) bool { return info.Namespace == "" && info.Name == "" }

// streamOf returns the stream that a record speaks of; nil when it is not there. A
// start makes it again when the record that made it is lost. mu is held.
func (s *Shard) streamOf(id record.StreamID, lsn record.LSN) *stream {
	st, r := s.streams[id], s.strays
	if st != nil || r == nil {
		return st
	}
	if _, ended := r.ended[id]; ended {
		return nil
	}
	info, ok := r.known(id)
	if !ok || nameless(&info) && !r.lost {
		if _, known := r.other[id]; known || len(r.other) < maxStrays {
			r.other[id]++
		}
		return nil // it ended with the process, or was dropped
	}
	return s.findStray(&info, lsn)
}

// findStray makes a stream again. Where it began is not known, so its offsets are
// unsure until the log tells one.
func (s *Shard) findStray(info *record.Stream, lsn record.LSN) *stream {
	r, since := s.strays, lsn
	var told []end
	if s.rebuild != nil {
		told = s.rebuild.ends.of[info.ID]
	}
	var latest record.LSN
	for i := range told {
		if told[i].since <= lsn {
			latest = max(latest, told[i].since)
		}
	}
	if latest > 0 {
		since = latest
	}
	s.addStream(info, true, since)
	st := s.streams[info.ID]
	r.found[info.ID], st.found = st, true
	if s.unsure == nil {
		s.unsure = map[record.StreamID][]record.Range{}
	}
	s.unsure[info.ID] = []record.Range{{First: 0, End: noLimit}}
	var from record.Offset
	for i := range told {
		if told[i].since == since && told[i].from > 1 && told[i].from <= r.sure {
			from = max(from, told[i].offset)
		}
	}
	if from > 0 {
		s.trustOffsets(info.ID, from)
	}
	return st
}

// beginAgain ends a stream that was made again, since the log says behind its
// messages that one of this id begins: the earlier one had ended.
func (s *Shard) beginAgain(id record.StreamID, lsn record.LSN) {
	r := s.strays
	if r == nil {
		return
	}
	delete(r.ended, id)
	if st := r.found[id]; st != nil && s.streams[id] == st {
		s.applyStreamDrop(id, lsn)
		delete(r.ended, id)
		delete(r.found, id)
	}
}

// endStrays tells what was found. All of it may have been delivered before. mu is
// not held, nor needed: the shard is not open yet.
func (s *Shard) endStrays() {
	r := s.strays
	s.strays = nil
	ids := make([]record.StreamID, 0, len(r.found))
	for id, st := range r.found {
		if s.streams[id] == st {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	streams, messages := 0, uint64(0)
	for _, id := range ids {
		st := r.found[id]
		for p := range st.everyPlace() {
			p.cur.Doubt(st.refs.End())
			s.changedPlace(p)
		}
		n := uint64(st.refs.End() - st.refs.Low())
		if nameless(&st.info) {
			streams, messages = streams+1, messages+n
			continue
		}
		s.logger.Warn("creation of a queue was lost and given up: its messages behind that are served again",
			slog.Any("shard", s.cfg.Identity.Shard), slog.String("namespace", st.info.Namespace),
			slog.String("queue", st.info.Name), slog.Uint64("stream", uint64(id)), slog.Uint64("messages", n))
	}
	if streams > 0 {
		s.logger.Error("messages of streams whose creation was lost are kept, and not delivered before something has the stream",
			slog.Any("shard", s.cfg.Identity.Shard), slog.Int("streams", streams), slog.Uint64("messages", messages))
	}
}

// RestoredSessions tells that all cursors were made that sessions of before the start
// have: those that come now begin at the end of their stream, also where that was
// made again. Before, they begin at its beginning, since their own may be lost as well.
func (s *Shard) RestoredSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		st.found = false
	}
}

// adopt gives a stream without a name what it is; false when it is something else.
// mu is held.
func (s *Shard) adopt(st *stream, info *record.Stream) bool {
	switch {
	case !nameless(&st.info) || info.Filter != st.info.Filter:
		return false
	case info.Kept == st.info.Kept && info.Compacted == st.info.Compacted:
		st.info = *info
		s.changedStream(st)
		return true
	case st.queue == nil || len(st.consumers) > 0:
		return false
	}
	// It was taken for a queue and is a stream queue. How large and old its messages
	// are was not counted: they are as of now.
	kept := s.newStream(info, true, st.since)
	kept.refs, st.refs = st.refs, index.List{}
	st.gone, st.self.gone = true, true
	s.streams[st.id] = kept
	s.pending.Delete(index.CursorKey(st.id, 0))
	k := kept.kept
	k.last = s.clock.Now().UnixMilli()
	for no := chunkOf(kept.refs.Low()); record.Offset(no)*index.ChunkLen < kept.refs.End(); no++ {
		k.chunks[no] = &chunk{Chunk: index.Chunk{Time: k.last}, changed: true}
	}
	s.changedStream(kept)
	return true
}
