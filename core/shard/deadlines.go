package shard

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

const (
	// ahead is how many buckets of deadlines are in memory before they come.
	ahead = 2
	// manyBuckets is how many buckets are read one by one; of more the store is
	// read from its first.
	manyBuckets = 8
	// lookAgain is when messages are looked at again that are in flight at their
	// deadline.
	lookAgain = time.Minute
	// storedWithin is how long after it was published a message without any time to
	// live is stored at the latest.
	storedWithin = time.Second
	// sweepMin is from how many deadlines in memory on those that are met already
	// are looked for.
	sweepMin = 1 << 16
)

// deadlines are the times at which messages of queues end. Messages carry them,
// so that a replay of the log finds the same; that one has come is told by the
// ack of the message in the log. The store has all but those that came since the
// last spill; memory has those, and of the store those of the next minutes. mu
// of the shard guards them; only the committer reads the store.
type deadlines struct {
	near   nearDeadlines
	fresh  []index.Deadline // of messages applied since the last spill
	queued int              // of fresh: those that are in near, if they are of a bucket below loaded
	atOnce []index.Deadline // of the batch that is applied: over when it was stored
	loaded uint64           // near has the buckets below
	beyond bool             // there may be others
	spills uint64
	sweep  int   // near is swept when it is as long
	armed  int64 // when the timer fires, 0 for never
	ended  uint64
}

// deadline is one in memory.
type deadline struct {
	index.Deadline
	look  int64  // when to look at it, unix milliseconds
	spill uint64 // the store has it since the spill after this one
}

// nearDeadlines is a min-heap by look.
type nearDeadlines []deadline

func (h *nearDeadlines) push(d deadline) {
	*h = append(*h, d)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if q[up].look <= q[i].look {
			break
		}
		q[up], q[i] = q[i], q[up]
		i = up
	}
}

func (h *nearDeadlines) pop() deadline {
	q := *h
	first, last := q[0], len(q)-1
	q[0] = q[last]
	*h = q[:last]
	h.sink(0)
	return first
}

// sink moves an entry down to where it belongs.
func (h *nearDeadlines) sink(i int) {
	q := *h
	for {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < len(q) && q[down].look < q[least].look {
				least = down
			}
		}
		if least == i {
			return
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}

// order makes a heap of entries in any order.
func (h *nearDeadlines) order() {
	for i := len(*h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

// HadNoTime tells of a message with a deadline, stored at a time, whether it had
// no time to live: it goes to a consumer that has room when it is stored, or to
// nobody. One that was over long before is over. Times are unix milliseconds.
func HadNoTime(deadline, stored int64) bool {
	return deadline <= stored && stored-deadline < storedWithin.Milliseconds()
}

// addDeadline notes the deadline of a message that is applied. mu is held.
func (s *Shard) addDeadline(st *stream, o record.Offset, at int64) {
	d := &s.deadlines
	at = max(at, 1)
	if !s.recovering && HadNoTime(at, s.applyTime) {
		d.atOnce = append(d.atOnce, index.Deadline{At: at, Stream: st.id, First: o, Count: 1})
	}
	if i := st.fresh; i >= d.queued && i < len(d.fresh) {
		if last := &d.fresh[i]; last.Stream == st.id && last.At == at && last.End() == o {
			last.Count++
			return
		}
	}
	st.fresh = len(d.fresh)
	d.fresh = append(d.fresh, index.Deadline{At: at, Stream: st.id, First: o, Count: 1})
}

// queueDeadlines has those of the batch that was applied come. mu is held.
func (s *Shard) queueDeadlines() {
	d := &s.deadlines
	for i := d.queued; i < len(d.fresh); i++ {
		if f := &d.fresh[i]; f.Bucket() < d.loaded {
			d.near.push(deadline{Deadline: *f, look: f.At, spill: d.spills + 1})
		} else {
			d.beyond = true
		}
	}
	d.queued = len(d.fresh)
	if len(d.near) > max(d.sweep, sweepMin) {
		s.sweepDeadlines()
	}
}

// sweepDeadlines forgets deadlines of what is settled. mu is held.
func (s *Shard) sweepDeadlines() {
	d := &s.deadlines
	kept := d.near[:0]
	for i := range d.near {
		if st := s.queueOf(&d.near[i].Deadline); st != nil && !st.settledAll(&d.near[i].Deadline) {
			kept = append(kept, d.near[i])
		} else {
			s.forgetDeadline(&d.near[i])
		}
	}
	d.near, d.sweep = kept, 2*len(kept)
	d.near.order()
}

// queueOf returns the queue of a deadline, nil when it is gone.
func (s *Shard) queueOf(d *index.Deadline) *stream {
	if st := s.streams[d.Stream]; st != nil && st.queue != nil && d.End() <= st.refs.End() {
		return st
	}
	return nil
}

// settledAll tells whether none of the messages is in the queue any more.
func (st *stream) settledAll(d *index.Deadline) bool {
	for o := d.First; o < d.End(); o++ {
		if !st.queue.Settled(o) {
			return false
		}
	}
	return true
}

// forgetDeadline takes it out of the store, if it is there. mu is held.
func (s *Shard) forgetDeadline(d *deadline) {
	if d.spill <= s.deadlines.spills {
		s.pending.Delete(index.DeadlineKey(&d.Deadline))
	}
}

// gatherDeadlines appends those that the store has not got, and that still
// matter, to the pending batch. mu is held, but not all the time: only the
// committer, which calls it, adds any.
func (s *Shard) gatherDeadlines() {
	d := &s.deadlines
	d.spills++
	var value []byte
	for i := range d.fresh {
		s.breathe(i)
		f := &d.fresh[i]
		if st := s.queueOf(f); st != nil && !st.settledAll(f) {
			value = index.AppendDeadline(value[:0], f)
			s.pending.Set(index.DeadlineKey(f), value)
		}
	}
	d.fresh, d.queued = d.fresh[:0], 0
}

// startDeadlines reads the first deadlines, at the end of the recovery.
func (s *Shard) startDeadlines() error {
	s.due = s.clock.NewTimer(lookAgain)
	s.due.Stop()
	return s.deadlineTurn()
}

// deadlineTurn reads the deadlines of the next minutes, and ends what is over.
func (s *Shard) deadlineTurn() error {
	if err := s.loadDeadlines(index.DeadlineBucket(s.clock.Now().UnixMilli()) + ahead); err != nil {
		return err
	}
	s.mu.Lock()
	s.endDue()
	s.deadlines.armed = 0
	s.mu.Unlock()
	s.armDeadlines()
	return nil
}

// armDeadlines sets the timer.
func (s *Shard) armDeadlines() {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.deadlines
	var next int64
	if d.beyond {
		next = index.BucketStart(d.loaded - 1)
	}
	if len(d.near) > 0 && (next == 0 || d.near[0].look < next) {
		next = d.near[0].look
	}
	if next == d.armed {
		return
	}
	if d.armed = next; next == 0 {
		s.due.Stop()
		return
	}
	s.due.Reset(max(0, time.UnixMilli(next).Sub(s.clock.Now())))
}

// loadDeadlines brings all below a bucket to memory. Only the committer calls it,
// with nothing on its way to the store.
func (s *Shard) loadDeadlines(to uint64) error {
	d := &s.deadlines
	from := d.loaded
	if to <= from {
		return nil
	}
	var found []index.Deadline
	beyond := false
	read := func(k, v []byte) error {
		var one index.Deadline
		if err := index.DecodeDeadline(k, v, &one); err != nil {
			return err
		}
		if one.Bucket() >= to {
			beyond = true
			return errEnough
		}
		if one.Bucket() >= from {
			found = append(found, one)
		}
		return nil
	}
	var err error
	if to-from > manyBuckets {
		err = s.store.Scan(index.DeadlinePrefix, read)
	}
	for bucket := from; to-from <= manyBuckets && bucket < to && err == nil; bucket++ {
		err = s.store.Scan(index.DeadlinesKey(bucket), read)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("read deadlines: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range found {
		s.breathe(i)
		d.near.push(deadline{Deadline: found[i], look: found[i].At})
	}
	for i := range d.fresh[:d.queued] {
		if f := &d.fresh[i]; f.Bucket() >= from && f.Bucket() < to {
			d.near.push(deadline{Deadline: *f, look: f.At, spill: d.spills + 1})
		}
	}
	d.loaded, d.beyond = to, d.beyond || beyond
	s.queueDeadlines() // of a replay
	return nil
}
