package shard

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/tidegate/tidegate/core/commitlog"
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
	if waste := cap(b.Raw) - len(b.Raw); waste > 4<<10 && waste > len(b.Raw)/2 {
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

// readAhead is how much of a segment is read at once for a consumer that has
// fallen behind, in bytes.
const readAhead = 256 << 10

// cacheBatches bounds the cache, which is searched one by one.
const cacheBatches = 128

// cache keeps batches that were read from segments, the least recently used
// goes first. One read at a time fills it, so that many readers at one place
// cost one read.
type cache struct {
	mu    sync.Mutex
	byUse []*record.Batch // last used at the end; short, since batches are large
	bytes int
	limit int
}

func (c *cache) find(lsn record.LSN) *record.Batch {
	for i, b := range slices.Backward(c.byUse) {
		if holds(b, lsn) != nil {
			copy(c.byUse[i:], c.byUse[i+1:])
			c.byUse[len(c.byUse)-1] = b
			return b
		}
	}
	return nil
}

func (c *cache) add(b *record.Batch) {
	c.byUse = append(c.byUse, b)
	c.bytes += size(b)
	for (c.bytes > c.limit || len(c.byUse) > cacheBatches) && len(c.byUse) > 1 {
		c.bytes -= size(c.byUse[0])
		c.byUse[0] = nil
		c.byUse = c.byUse[1:]
	}
}

// Hint remembers the batch that a reader read last, since the next record is
// likely in it. It pins that batch: Reset it when the reader rests.
type Hint struct{ b *record.Batch }

// Reset lets the batch go.
func (h *Hint) Reset() { h.b = nil }

// Record reads a message. Its slices stay valid for as long as they are held;
// they are shared and must not be changed. The result is the time at which
// the message was taken, unix milliseconds.
func (s *Shard) Record(lsn record.LSN, h *Hint, m *record.Message) (int64, error) {
	if h.b == nil || holds(h.b, lsn) == nil {
		b, err := s.batch(lsn)
		if err != nil {
			return 0, err
		}
		h.b = b
	}
	i, ok := h.b.Find(lsn)
	if !ok {
		return 0, fmt.Errorf("record %d: %w", lsn, ErrNotFound)
	}
	kind, body := h.b.Record(i)
	message, ok, err := record.MessageBody(kind, body)
	if err != nil {
		return 0, fmt.Errorf("record %d: %w", lsn, err)
	}
	if !ok {
		return 0, fmt.Errorf("record %d is of kind %d: %w", lsn, kind, ErrNotFound)
	}
	return h.b.Time(i), record.DecodeMessage(message, m)
}

func (s *Shard) batch(lsn record.LSN) (*record.Batch, error) {
	if b := s.tail.find(lsn); b != nil {
		return b, nil
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if b := s.cache.find(lsn); b != nil {
		return b, nil
	}
	b, err := s.log.ReadAhead(lsn, readAhead)
	if errors.Is(err, commitlog.ErrNotFound) { // nothing needed it any more, or its loss was accepted
		return nil, fmt.Errorf("read record %d: %w: %w", lsn, ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read record %d: %w", lsn, err)
	}
	s.cache.add(b)
	return b, nil
}
