package shard

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// Reader is a session's part in one shard: the cursors that it has on streams
// of filters, read as one in log order.
type Reader struct {
	s      *Shard
	id     uint64 // of the session; names its cursors
	notify func()
	woken  bool
	places []*place
	byID   map[record.StreamID]*place
	also   map[record.LSN][]twin // in flight messages that several streams refer to
	match  []*place              // scratch
}

// twin is a further reference to a message in flight.
type twin struct {
	p *place
	o record.Offset
}

// NewReader makes a reader without cursors. notify may be called with locks held.
func (s *Shard) NewReader(session uint64, notify func()) *Reader {
	return &Reader{s: s, id: session, notify: notify}
}

// Hint returns the hint for the reads of this reader.
func (r *Reader) Hint() Hint { return Hint{owner: r.id} }

// CreateCursor begins a cursor for the session at the stream's end; one that is
// there stays. For a durable stream the result is the LSN at which it begins:
// wait for it, then Attach.
func (s *Shard) CreateCursor(stream record.StreamID, session uint64) (record.LSN, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[stream]
	if st == nil || st.queue != nil || st.kept != nil {
		return 0, fmt.Errorf("stream %x: %w", uint64(stream), ErrNotFound)
	}
	if !st.durable {
		st.addPlace(session, false)
		return 0, nil
	}
	if st.places.get(session) != nil {
		return s.Committed(), nil
	}
	ref := record.CursorRef{Stream: stream, Cursor: session}
	return s.Append(record.KindCursorCreate, record.AppendCursorRef(nil, ref), nil)
}

// Cursors returns the sessions that have a cursor on a filter's stream, ascending.
func (s *Shard) Cursors(stream record.StreamID) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[stream]
	if st == nil {
		return nil
	}
	var ids []uint64
	for p := range st.places.each() {
		ids = append(ids, p.id)
	}
	slices.Sort(ids)
	return ids
}

// CursorCount is how many sessions have a cursor on a filter's stream.
func (s *Shard) CursorCount(stream record.StreamID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[stream]
	if st == nil {
		return 0
	}
	return st.places.len()
}

// DropCursor ends a session's cursor and returns how many the stream still has
// and the LSN to wait for.
func (s *Shard) DropCursor(stream record.StreamID, session uint64) (left int, lsn record.LSN, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[stream]
	if st == nil || st.queue != nil || st.kept != nil {
		return 0, 0, nil
	}
	p := st.places.get(session)
	st.dropPlace(session)
	if p == nil || !p.durable {
		return st.places.len(), 0, nil
	}
	ref := record.CursorRef{Stream: stream, Cursor: session}
	lsn, err = s.Append(record.KindCursorDrop, record.AppendCursorRef(nil, ref), nil)
	return st.places.len(), lsn, err
}

// Attach makes the reader read the session's cursors on the streams. They are
// read as one from the first message on, so that one that several of them refer
// to is delivered once.
func (r *Reader) Attach(streams ...record.StreamID) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, stream := range streams {
		if err := r.attach(stream); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) attach(stream record.StreamID) error {
	st := r.s.streams[stream]
	if st == nil || st.kept != nil || st.places.get(r.id) == nil {
		return fmt.Errorf("cursor on stream %x: %w", uint64(stream), ErrNotFound)
	}
	p := st.places.get(r.id)
	p.reader = r
	if r.byID[stream] == nil {
		if r.byID == nil {
			r.byID = map[record.StreamID]*place{}
		}
		r.places = append(r.places, p)
		r.byID[stream] = p
	}
	r.s.mark(p)
	return nil
}

// Detach stops reading the stream.
func (r *Reader) Detach(stream record.StreamID) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for i, p := range r.places {
		if p.stream.id == stream {
			p.reader = nil
			r.places = append(r.places[:i], r.places[i+1:]...)
			delete(r.byID, stream)
			return
		}
	}
}

// Pause stops waking the reader; what it has in flight stays so.
func (r *Reader) Pause() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, p := range r.places {
		p.reader = nil
	}
}

// Rest ends the reader: what it has in flight goes back to its place, to be delivered to
// the next reader of the session.
func (r *Reader) Rest() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, p := range r.places {
		p.reader = nil
		p.cur.ReturnAll()
	}
	r.places, r.also = nil, nil
	clear(r.byID)
}

// Resume wakes the reader again.
func (r *Reader) Resume() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, p := range r.places {
		p.reader = r
		r.s.mark(p)
	}
}

// Next appends up to n messages to dst in log order, one however many of the
// streams refer to it. It may read the index; what it returns with an error is good.
func (r *Reader) Next(dst []Ref, n int) ([]Ref, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for first := len(dst); len(dst)-first < n; {
		lsn, ok, err := r.lowest()
		if err != nil && len(dst) > first {
			break // the next call meets it
		}
		if err != nil {
			if err = r.s.bring(err, r.id, nil); err != nil {
				return dst, err
			}
			continue
		}
		if !ok {
			break
		}
		dst = append(dst, r.take(lsn))
	}
	for _, p := range r.places {
		r.s.mark(p)
	}
	return dst, nil
}

// lowest finds the cursors that stand at the lowest record and leaves them in r.match.
func (r *Reader) lowest() (record.LSN, bool, error) {
	r.match = r.match[:0]
	var low record.LSN
	for _, p := range r.places {
		if p.gone {
			continue
		}
		o, ok := p.cur.Peek(p.stream.refs.End())
		if !ok {
			continue
		}
		lsn, ok, err := p.stream.ref(o)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			continue
		}
		if len(r.match) == 0 || lsn < low {
			low, r.match = lsn, r.match[:0]
		}
		if lsn == low {
			r.match = append(r.match, p)
		}
	}
	for _, p := range r.match {
		if o, _ := p.cur.Peek(p.stream.refs.End()); o >= p.limit() {
			return 0, false, nil // the mark is on its way; nothing may overtake
		}
	}
	return low, len(r.match) > 0, nil
}

func (r *Reader) take(lsn record.LSN) Ref {
	ref := Ref{LSN: lsn}
	for i, p := range r.match {
		o, redelivered, _ := p.cur.Take(p.stream.refs.End())
		ref.Redelivered = ref.Redelivered || redelivered
		if i == 0 {
			ref.Stream, ref.Offset = p.stream.id, o
			continue
		}
		r.twin(lsn, p, o)
		ref.Also = append(ref.Also, p.stream.id)
	}
	return ref
}

// Settle ends a message that Next returned. It returns false for one that is
// settled, or that the index can't be read for: that one stays in flight.
func (r *Reader) Settle(stream record.StreamID, o record.Offset, lsn record.LSN) bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	var main *place // what is settled with its twins, or not at all
	if p := r.byID[stream]; p != nil && !p.cur.Settled(o) {
		p, at, ok, err := r.find(stream, o)
		if err != nil {
			r.s.logger.Error("delivery not settled", slog.Any("error", err))
			return false
		}
		if ok && at == lsn {
			main = p
		}
	}
	for _, t := range r.also[lsn] {
		r.settle(t.p, t.o)
	}
	delete(r.also, lsn)
	return main != nil && r.settle(main, o)
}

// find returns the reader's cursor on a stream and the record at an offset of
// it; ok is false when there is none, or the stream is dropped meanwhile. mu is
// held, but not while the index is read.
func (r *Reader) find(stream record.StreamID, o record.Offset) (p *place, lsn record.LSN, ok bool, err error) {
	for {
		if p = r.byID[stream]; p == nil || p.gone {
			return nil, 0, false, nil
		}
		if lsn, ok, err = p.stream.ref(o); err == nil {
			return p, lsn, ok, nil
		}
		if err = r.s.bring(err, r.id, nil); err != nil {
			return p, 0, false, err
		}
	}
}

func (r *Reader) settle(p *place, o record.Offset) bool {
	if p.gone || !p.cur.Settle(o) {
		return false
	}
	r.s.settled(p)
	p.stream.trim(p)
	return true
}

// GiveBack returns messages that Next returned to their place.
func (r *Reader) GiveBack(refs []Ref) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for i := range refs {
		ref := &refs[i]
		if p := r.byID[ref.Stream]; p != nil {
			p.cur.Return(ref.Offset, true)
		}
		for _, t := range r.also[ref.LSN] {
			t.p.cur.Return(t.o, true)
		}
		delete(r.also, ref.LSN)
	}
}

// Reserve marks a message as in flight, in every stream of the reader that
// refers to it; Next will not return it. A position of an earlier stream, or one
// that is settled, is ignored.
func (r *Reader) Reserve(stream record.StreamID, o record.Offset, lsn record.LSN) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if p := r.byID[stream]; p == nil || p.cur.Settled(o) {
		return nil
	}
	twins, err := r.findTwins(stream, lsn)
	if err != nil {
		return err
	}
	p, at, ok, err := r.find(stream, o)
	if err != nil || !ok || at != lsn || !p.cur.Reserve(o, p.stream.refs.End()) {
		return err
	}
	for _, t := range twins {
		if t.p.cur.Reserve(t.o, t.p.stream.refs.End()) {
			r.twin(lsn, t.p, t.o)
		}
	}
	return nil
}

// findTwins returns the references to a record in the reader's streams but one.
// mu is held, but not while the index is read: then the search begins again,
// and goes on in each stream where it stopped.
func (r *Reader) findTwins(but record.StreamID, lsn record.LSN) ([]twin, error) {
	searches := map[*place]*index.Search{}
	for {
		found, err := r.findIn(searches, but, lsn)
		if err == nil {
			return found, nil
		}
		if err = r.s.bring(err, r.id, nil); err != nil {
			return nil, err
		}
	}
}

func (r *Reader) findIn(searches map[*place]*index.Search, but record.StreamID, lsn record.LSN) ([]twin, error) {
	var found []twin
	for _, p := range r.places {
		if p.stream.id == but || p.gone {
			continue
		}
		if searches[p] == nil {
			searches[p] = new(index.Search)
		}
		o, ok, err := p.stream.refs.Find(lsn, searches[p], inMemory{p.stream})
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, twin{p, o})
		}
	}
	return found, nil
}

// twin notes a further reference to a message in flight.
func (r *Reader) twin(lsn record.LSN, p *place, o record.Offset) {
	if r.also == nil {
		r.also = map[record.LSN][]twin{}
	}
	r.also[lsn] = append(r.also[lsn], twin{p, o})
}

// Lookup returns the record of a message that is not settled.
func (r *Reader) Lookup(stream record.StreamID, o record.Offset) (record.LSN, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	p, lsn, ok, err := r.find(stream, o)
	if err == nil && (!ok || p.cur.Settled(o)) {
		err = ErrNotFound
	}
	return lsn, err
}

// Recover puts everything that was in flight back to its place: the connection
// state that knew of it is gone.
func (r *Reader) Recover() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, p := range r.places {
		p.cur.ReturnAll()
	}
	r.also = nil
}
