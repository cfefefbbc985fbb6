package shard

import (
	"errors"
	"fmt"
	"maps"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// A step of retention decides with mu, and reads what it needs of the index without: it
// says what is missing, lets that be read, and begins again. What was read holds as long
// as nothing was spilled meanwhile, since who has changed a chunk keeps it in memory
// until then.

const (
	// chunksAtOnce bounds the chunks that are read at once.
	chunksAtOnce = 256
	// retainTries bounds how often a step begins anew because something was spilled;
	// then it is left to the next one.
	retainTries = 8
)

// stepReads are what a step of retention has read of a stream queue.
type stepReads struct {
	k      *keptStream
	spills int
	tries  int
	ahead  int // chunks to be read at once, if the step goes through them in order
	chunks map[uint64]*index.Chunk
	// old are the first tombstones that may have stayed for long enough, nil while they
	// were not looked for.
	old []oldTombstone
}

// missing says what a step needs to be read, see stepReads.
type missing struct {
	chunks []uint64
	old    *tombstoneScan // or the old tombstones
}

func (m *missing) Error() string {
	return fmt.Sprintf("%d chunks of a stream queue are not in memory", len(m.chunks))
}

// hold has the reads be of a stream as it is now; false when the step is to be left.
// mu is held.
func (r *stepReads) hold(k *keptStream) bool {
	if r.k == k && r.spills == k.spills {
		return true
	}
	r.tries++
	*r = stepReads{k: k, spills: k.spills, tries: r.tries, ahead: 1, chunks: map[uint64]*index.Chunk{}}
	return r.tries <= retainTries
}

// chunk returns what is known of a chunk, or a *missing. mu is held, and the result is
// only for looking at.
func (r *stepReads) chunk(no uint64) (*index.Chunk, error) {
	if c := r.k.chunks[no]; c != nil {
		return &c.Chunk, nil
	}
	if c := r.chunks[no]; c != nil {
		return c, nil
	}
	if !r.k.inStore(no) {
		return new(index.Chunk), nil
	}
	m := new(missing)
	for i := range uint64(r.ahead) {
		if r.has(no+i) || !r.k.inStore(no+i) {
			break
		}
		m.chunks = append(m.chunks, no+i)
	}
	r.ahead = min(4*r.ahead, chunksAtOnce)
	return nil, m
}

// all asks for several chunks at once.
func (r *stepReads) all(nos []uint64) error {
	m := new(missing)
	for _, no := range nos {
		if !r.has(no) && r.k.inStore(no) {
			m.chunks = append(m.chunks, no)
		}
	}
	if len(m.chunks) == 0 {
		return nil
	}
	return m
}

func (r *stepReads) has(no uint64) bool { return r.k.chunks[no] != nil || r.chunks[no] != nil }

// readMissing reads what is missing. mu is not held.
func (s *Shard) readMissing(r *stepReads, m *missing) error {
	owner := uint64(r.k.st.id)
	if err := s.pool.enter(owner, nil); err != nil {
		return err
	}
	defer s.pool.leave(owner)
	for _, no := range m.chunks {
		c, err := r.k.readChunk(no)
		if err != nil {
			return err
		}
		r.chunks[no] = &c
	}
	if m.old == nil {
		return nil
	}
	old, err := r.k.scanTombstones(m.old)
	r.old = old
	return err
}

// decideKept decides something about a stream queue, with mu held: again and again, until
// nothing is missing. decide must change nothing before it has what it needs. The result
// is the LSN to wait for, 0 for none.
func (s *Shard) decideKept(id record.StreamID, decide func(r *stepReads) (record.LSN, error)) (record.LSN, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := new(stepReads)
	for {
		st := s.streams[id]
		if st == nil || st.kept == nil || !r.hold(st.kept) {
			return 0, nil
		}
		lsn, err := decide(r)
		m, ok := errors.AsType[*missing](err)
		if !ok {
			return lsn, err
		}
		s.unlocked(func() { err = s.readMissing(r, m) })
		if err != nil {
			return 0, err
		}
	}
}

// oldTombstone is a tombstone in the store.
type oldTombstone struct {
	at int64
	record.Tombstone
}

// tombstoneScan says which tombstones may be old.
type tombstoneScan struct {
	cutoff, now int64
	below       record.Offset
	forgotten   map[record.Offset]struct{} // those that are taken out already
	low         record.Offset
}

// scan is what a scan has to know, for who holds mu.
func (k *keptStream) tombstoneScan(now, cutoff int64, below record.Offset) *tombstoneScan {
	return &tombstoneScan{
		cutoff: cutoff, now: now, below: below, forgotten: maps.Clone(k.compaction.forgotten), low: k.st.refs.Low(),
	}
}

// wrong tells whether a time that is still to come was told by a clock that was ahead.
func (t *tombstoneScan) wrong(at int64) bool { return at > t.now }

// scanTombstones finds the first tombstones that have stayed for long enough, or whose
// time is wrong. It reads the last message of each key too, so that the store has it at
// hand when the record that forgets them is applied. mu is not held.
func (k *keptStream) scanTombstones(t *tombstoneScan) ([]oldTombstone, error) {
	found := []oldTombstone{}
	store, id := k.st.s.store, k.st.id
	err := store.Scan(index.TombstonesKey(id), func(key, v []byte) error {
		no, err := index.PartNumber(key)
		if err != nil {
			return err
		}
		at, about, err := index.DecodeTombstone(v)
		if err != nil {
			return err
		}
		o := record.Offset(no)
		if at > t.cutoff && !t.wrong(at) || o >= t.below || len(found) == forgetTombstones {
			return errEnough
		}
		if _, done := t.forgotten[o]; !done && o >= t.low {
			found = append(found, oldTombstone{at, record.Tombstone{Offset: o, Key: about}})
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	for i := range found {
		if _, err := store.Get(index.LastKey(id, found[i].Key)); err != nil && !errors.Is(err, index.ErrNotFound) {
			return nil, fmt.Errorf("stream %x, last message of a key: %w", uint64(id), err)
		}
	}
	return found, nil
}
