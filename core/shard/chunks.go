package shard

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// away tells which chunk of references a call needs that is not in memory, or of
// which chunk of a stream queue what is known of it.
type away struct {
	st   *stream
	no   uint64
	info bool
}

// Error implements error.
func (e *away) Error() string {
	return fmt.Sprintf("chunk %d of the references of stream %x is not in memory", e.no, uint64(e.st.id))
}

// Is makes it an [index.ErrAway].
func (e *away) Is(target error) bool { return target == index.ErrAway }

// inMemory is the loader of who holds mu for others: it loads nothing.
type inMemory struct{ st *stream }

// LoadChunk implements [index.Loader].
func (m inMemory) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	return dst, &away{st: m.st, no: no}
}

// ref returns the record of an offset from memory. When it is not there the
// error says so: let bring bring it, and begin again. mu is held.
func (st *stream) ref(o record.Offset) (record.LSN, bool, error) {
	return st.refs.Get(o, inMemory{st})
}

// chunkRead is a read of a chunk that goes on.
type chunkRead struct {
	done chan struct{}
}

// bring reads what an away error asks for into memory, and returns every other
// error. mu is held, but not while it waits for a place among the reads of the
// owner, or for the store: so everything may have changed when it returns, only
// that chunk is there unless it is not needed any more, because its references
// were trimmed or its stream is gone: the caller looks for both. Who needs the same chunk
// waits for one read; when that fails each does his own.
func (s *Shard) bring(err error, owner uint64, stop <-chan struct{}) error {
	var need *away
	if !errors.As(err, &need) {
		return err
	}
	if r := s.reading[*need]; r != nil {
		s.unlocked(func() { err = s.work.Wait(r.done, stop) })
		return left(err)
	}
	r := &chunkRead{done: make(chan struct{})}
	s.reading[*need] = r
	defer func() { // also when the read panics: who waits reads for himself then
		delete(s.reading, *need)
		close(r.done)
	}()
	if need.info {
		return s.bringInfo(need, owner, stop)
	}
	stored := need.st.refs.Stored(need.no)
	var lsns []record.LSN
	s.unlocked(func() { lsns, err = s.readChunk(need, owner, stop) })
	lsns = index.Unskip(lsns, stored)
	switch {
	case need.st.gone || need.st.refs.Stored(need.no) == 0:
		return nil // nobody needs it any more
	case err != nil:
		return err
	case len(lsns) < stored:
		return fmt.Errorf("chunk %d of the references of stream %x has %d of %d: %w",
			need.no, uint64(need.st.id), len(lsns), stored, record.ErrCorrupt)
	}
	s.warmed(need.st)
	need.st.refs.Install(need.no, lsns)
	return nil
}

// bringInfo does so for what is known of a chunk of a stream queue. What a spill has
// overtaken is left out: it is to be read again.
func (s *Shard) bringInfo(need *away, owner uint64, stop <-chan struct{}) error {
	k := need.st.kept
	spills := k.spills
	var c index.Chunk
	var err error
	s.unlocked(func() {
		if err = s.pool.enter(owner, stop); err == nil {
			defer s.pool.leave(owner)
			c, err = k.readChunk(need.no)
		}
	})
	switch {
	case need.st.gone || need.no < chunkOf(need.st.refs.Low()):
		return nil // nobody needs it any more
	case err != nil:
		return err
	case k.chunks[need.no] == nil && k.spills == spills:
		k.remember(need.no, &chunk{Chunk: c})
	}
	return nil
}

// unlocked does something without mu, which the caller holds and has again
// afterwards, whatever happens: a panic is the caller's only if mu is held.
func (s *Shard) unlocked(do func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	do()
}

func (s *Shard) readChunk(need *away, owner uint64, stop <-chan struct{}) ([]record.LSN, error) {
	if err := s.pool.enter(owner, stop); err != nil {
		return nil, err
	}
	defer s.pool.leave(owner)
	return need.st.readChunk(need.no, make([]record.LSN, 0, index.ChunkLen))
}

// readChunk reads a chunk from the store.
func (st *stream) readChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	key := index.TransientChunkKey
	if st.durable {
		key = index.ChunkKey
	}
	v, err := st.s.store.Get(key(st.id, no))
	if err != nil {
		return dst, fmt.Errorf("stream %x: %w", uint64(st.id), err)
	}
	return index.DecodeChunk(v, dst)
}

// LoadChunk implements [index.Loader] for the committer. mu is held.
func (st *stream) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	st.s.warmed(st)
	return st.readChunk(no, dst)
}
