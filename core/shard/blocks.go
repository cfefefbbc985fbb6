package shard

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// readAhead is how much of a segment is read at once for a consumer that has
// fallen behind, in bytes.
const readAhead = 256 << 10

// cacheBlocks bounds the cache, which is searched one by one.
const cacheBlocks = 128

// blocks keeps batches that were read from segments, the least recently used
// goes first. They are found by LSN alone, and a record never changes: so a
// block stays right when its segment is rewritten.
type blocks struct {
	mu      sync.Mutex
	byUse   []*record.Batch // last used at the end; short, since blocks are large
	bytes   int
	limit   int
	flights []*flight // one for each goroutine that reads or waits for a place
	span    record.LSN
}

// flight is a read that goes on.
type flight struct {
	lsn   record.LSN
	done  chan struct{} // closed when block is set, or the read has failed
	block *record.Batch
}

func (c *blocks) find(lsn record.LSN) *record.Batch {
	for i, b := range slices.Backward(c.byUse) {
		if holds(b, lsn) != nil {
			copy(c.byUse[i:], c.byUse[i+1:])
			c.byUse[len(c.byUse)-1] = b
			return b
		}
	}
	return nil
}

func (c *blocks) add(b *record.Batch) {
	c.span = b.Next() - b.Base
	c.byUse = append(c.byUse, b)
	c.bytes += size(b)
	for (c.bytes > c.limit || len(c.byUse) > cacheBlocks) && len(c.byUse) > 1 {
		c.bytes -= size(c.byUse[0])
		c.byUse[0] = nil
		c.byUse = c.byUse[1:]
	}
}

// take returns the block of a record if it is there, else the read that may
// bring it. With own, or when nobody reads near the record, the caller is the
// one to do the read, and then to call land.
func (c *blocks) take(lsn record.LSN, own bool) (b *record.Batch, f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b = c.find(lsn); b != nil {
		return b, nil, false
	}
	for _, f := range c.flights {
		// What the read brings is not known before. Blocks are about as long as
		// the last one was, and begin at or below the record that is asked for.
		if !own && (lsn >= f.lsn && lsn-f.lsn < c.span || lsn < f.lsn && f.lsn-lsn < c.span) || lsn == f.lsn {
			return nil, f, false
		}
	}
	f = &flight{lsn: lsn, done: make(chan struct{})}
	c.flights = append(c.flights, f)
	return nil, f, true
}

// land ends a read; b is nil when it has failed.
func (c *blocks) land(f *flight, b *record.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights = slices.DeleteFunc(c.flights, func(g *flight) bool { return g == f })
	if f.block = b; b != nil {
		c.add(b)
	}
	close(f.done)
}

// maxWaits is how often a read near the record may turn out not to have brought
// it, before who wants it reads for itself.
const maxWaits = 2

// Hint is what a reader of records keeps: the batch that it read last, since the
// next record is likely in it, and for whom it reads: the zero Hint reads for
// nobody, and shares the places of one. It pins that batch: Reset it when the
// reader rests.
type Hint struct {
	b     *record.Batch
	body  *record.Batch   // likewise of the records that held messages until they were due
	owner uint64          // shares the places for reads
	stop  <-chan struct{} // ends a wait for a place; nil for never
}

// Reset lets the batches go.
func (h *Hint) Reset() { h.b, h.body = nil, nil }

// block reads the batch of a record that is not in the tail. Who reads near the
// same place at the same time reads once. An error is that of the caller's own
// read: who waited for another's that has failed does it again.
func (s *Shard) block(lsn record.LSN, h *Hint) (*record.Batch, error) {
	own := false
	for waits := 0; ; waits++ {
		b, f, mine := s.blocks.take(lsn, own)
		if b != nil {
			return b, nil
		}
		if mine {
			return s.fly(f, h)
		}
		if err := s.work.Wait(f.done, h.stop); err != nil {
			return nil, fmt.Errorf("read record %d: %w", lsn, left(err))
		}
		if b := f.block; b != nil && holds(b, lsn) != nil {
			return b, nil
		}
		own = f.block == nil || waits == maxWaits
	}
}

// fly does a read, and tells who waits for it how it ended, be it with a panic.
func (s *Shard) fly(f *flight, h *Hint) (b *record.Batch, err error) {
	defer func() { s.blocks.land(f, b) }()
	return s.readBlock(f.lsn, h)
}

func (s *Shard) readBlock(lsn record.LSN, h *Hint) (*record.Batch, error) {
	err := s.pool.enter(h.owner, h.stop)
	if err != nil {
		return nil, fmt.Errorf("read record %d: %w", lsn, err)
	}
	defer s.pool.leave(h.owner)
	b, err := s.log.ReadAhead(lsn, readAhead)
	if errors.Is(err, commitlog.ErrNotFound) { // nothing needed it any more
		return nil, fmt.Errorf("read record %d: %w: %w", lsn, ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read record %d: %w", lsn, err)
	}
	return b, nil
}
