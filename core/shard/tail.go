package shard

import (
	"fmt"
	"sort"
	"sync"

	"github.com/tidegate/tidegate/core/record"
)

// tail keeps the newest batches in memory, up to a size. Only size evicts: a
// consumer that falls behind reads segments and holds nothing here.
type tail struct {
	mu      sync.RWMutex
	batches []*record.Batch // ascending, no gaps
	bytes   int
	limit   int
}

func (t *tail) push(b *record.Batch) {
	if waste := cap(b.Raw) - len(b.Raw); waste > leastBatch && waste > len(b.Raw)/2 {
		b.Raw = append(make([]byte, 0, len(b.Raw)), b.Raw...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batches = append(t.batches, b)
	t.bytes += size(b)
	n := 0
	for t.bytes > t.limit && n < len(t.batches)-1 {
		t.bytes -= size(t.batches[n])
		n++
	}
	if n > 0 {
		clear(t.batches[:n])
		t.batches = t.batches[n:]
	}
}

// size is what a batch costs in memory, about.
func size(b *record.Batch) int { return cap(b.Raw) + 4*cap(b.Ends) + 128 }

func (t *tail) find(lsn record.LSN) *record.Batch {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := len(t.batches)
	if n == 0 || lsn < t.batches[0].Base {
		return nil
	}
	if last := t.batches[n-1]; lsn >= last.Base {
		return holds(last, lsn)
	}
	i := sort.Search(n, func(i int) bool { return t.batches[i].Base > lsn }) - 1
	return holds(t.batches[i], lsn)
}

func holds(b *record.Batch, lsn record.LSN) *record.Batch {
	if lsn < b.Base || lsn >= b.Next() {
		return nil
	}
	return b
}

// Record reads a message. Its slices stay valid for as long as they are held;
// they are shared and must not be changed. The result is the time at which
// the message was taken, unix milliseconds. It may read the disk, and wait for a
// place to do so, when the record is not among the newest.
func (s *Shard) Record(lsn record.LSN, h *Hint, m *record.Message) (int64, error) {
	if h.b == nil || holds(h.b, lsn) == nil {
		b := s.tail.find(lsn)
		if b == nil {
			var err error
			if b, err = s.block(lsn, h); err != nil {
				return 0, err
			}
		}
		h.b = b
	}
	i, ok := h.b.Find(lsn)
	if !ok {
		return 0, fmt.Errorf("record %d: %w", lsn, ErrNotFound)
	}
	kind, body := h.b.Record(i)
	if fire, ok, err := record.FireBody(kind, body); ok {
		return h.b.Time(i), s.firedRecord(fire, err, h, m)
	}
	message, ok, err := record.MessageBody(kind, body)
	if err != nil {
		return 0, fmt.Errorf("record %d: %w", lsn, err)
	}
	if !ok {
		return 0, fmt.Errorf("record %d is of kind %d: %w", lsn, kind, ErrNotFound)
	}
	return h.b.Time(i), record.DecodeMessage(message, m)
}

// firedRecord reads a message that was held until it was due.
func (s *Shard) firedRecord(fire []byte, err error, h *Hint, m *record.Message) error {
	var f record.Fire
	if err == nil {
		err = record.DecodeFire(fire, &f)
	}
	if err != nil {
		return err
	}
	*m = f.Message
	return s.heldBody(m, h)
}
