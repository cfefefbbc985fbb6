package shard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// census is how many references each segment has that are needed, as of a
// snapshot of the store. A message that several streams refer to is counted as
// often, so a segment may be taken for more alive than it is, never for less.
type census struct {
	segments map[record.LSN]*counted // by first LSN
	// over are keys of the index that tell of held messages which nobody needs any more.
	over [][]byte
}

// counted is what the census says of a segment.
type counted struct {
	live     uint64 // references
	controls bool   // it may hold records that are no messages, acks or marks
}

func (c *census) has(base record.LSN) bool { return c.segments[base] != nil }

func (c *census) forget(base record.LSN) { delete(c.segments, base) }

// replaced notes a segment that was written with that many messages.
func (c *census) replaced(base record.LSN, live uint64) {
	c.segments[base] = &counted{live: live, controls: true}
}

// noLSN is above every record.
const noLSN = record.LSN(math.MaxUint64)

// counter takes a census.
type counter struct {
	ctx   context.Context //nolint:containedctx // of one call of takeCensus
	infos []commitlog.Info
	out   []counted
	at    int // the segment that the last record was in
	lsns  []record.LSN

	keeper *keeper  // tells what is needed of what was held
	over   [][]byte // see census
}

// takeCensus counts the references to the records of the segments, which are in
// order. It looks at every chunk of references that is in the store.
func takeCensus(ctx context.Context, snap index.Snapshot, segments []commitlog.Info) (*census, error) {
	c := &counter{ctx: ctx, infos: segments, out: make([]counted, len(segments)), keeper: newKeeper(snap, false)}
	for _, part := range []struct {
		prefix []byte
		count  func(snap index.Snapshot, k, v []byte) error
	}{
		{index.StreamPrefix, c.stream},
		{index.RetainedPrefix, c.value},
		{index.OncePrefix, c.value},
		{index.ControlPrefix, c.control},
		{index.HeldPrefix, c.held},
		{index.FiredPrefix, c.fired},
	} {
		if err := snap.Scan(part.prefix, func(k, v []byte) error { return part.count(snap, k, v) }); err != nil {
			return nil, err
		}
	}
	if err := c.transients(snap); err != nil {
		return nil, err
	}
	if err := c.unmarked(snap); err != nil {
		return nil, err
	}
	all := &census{segments: make(map[record.LSN]*counted, len(segments)), over: c.over}
	for i := range segments {
		all.segments[segments[i].Base] = &c.out[i]
	}
	return all, nil
}

// stream counts the references of a durable stream.
func (c *counter) stream(snap index.Snapshot, _, v []byte) error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	var info index.Stream
	if err := index.DecodeStream(v, &info); err != nil {
		return err
	}
	if info.Low == info.End {
		return nil
	}
	view, err := viewOf(snap, &info, false)
	if err != nil || view.floor >= view.end {
		return err
	}
	return snap.Scan(index.ChunksKey(info.ID), func(k, v []byte) error { return c.chunk(snap, view, k, v) })
}

// transients counts the references of streams that end with the process. Each
// is followed by its chunks.
func (c *counter) transients(snap index.Snapshot) error {
	everything := &view{end: noLimit} // of a stream that the store does not know yet
	current, id := everything, record.StreamID(0)
	return snap.Scan(index.TransientPrefix, func(k, v []byte) error {
		if err := context.Cause(c.ctx); err != nil {
			return err
		}
		n, err := index.Uint64(k, 0)
		if err != nil {
			return err
		}
		if record.StreamID(n) != id {
			current, id = everything, record.StreamID(n)
		}
		if len(k) > len(index.TransientKey(id)) {
			return c.chunk(snap, current, k, v)
		}
		var info index.Stream
		if err := index.DecodeStream(v, &info); err != nil {
			return err
		}
		current, err = viewOf(snap, &info, true)
		return err
	})
}

// chunk counts the references of a chunk that its stream needs.
func (c *counter) chunk(snap index.Snapshot, of *view, k, v []byte) error {
	no, err := index.Uint64(k, 1)
	if err != nil {
		return err
	}
	first := record.Offset(no) * index.ChunkLen
	if first+index.ChunkLen <= of.floor {
		return nil
	}
	if c.lsns, err = index.DecodeChunk(v, c.lsns[:0]); err != nil {
		return fmt.Errorf("chunk %d of a stream: %w", no, err)
	}
	if of.compacted {
		of.no = no
		if err := of.loadGone(snap); err != nil {
			return err
		}
	}
	for i, lsn := range c.lsns {
		if o := first + record.Offset(i); of.needs(o) && !of.gone.Has(o) {
			c.refer(lsn)
		}
	}
	return nil
}

// value counts a reference that is the value of a key.
func (c *counter) value(_ index.Snapshot, _, v []byte) error {
	lsn, err := index.DecodeLSN(v)
	if err == nil {
		c.refer(lsn)
	}
	return err
}

// unmarked notes the segments that have records from before there were marks: what
// these are only a rewrite can tell.
func (c *counter) unmarked(snap index.Snapshot) error {
	v, err := snap.Get(index.MarkedKey)
	marked := noLSN
	if err == nil {
		marked, err = index.DecodeLSN(v)
	}
	if err != nil && !errors.Is(err, index.ErrNotFound) {
		return err
	}
	for i := range c.infos {
		c.out[i].controls = c.out[i].controls || c.infos[i].Base < marked
	}
	return nil
}

// control notes the segments that have a part of a marked block.
func (c *counter) control(_ index.Snapshot, k, _ []byte) error {
	block, err := index.Uint64(k, 0)
	if err != nil {
		return err
	}
	i, _ := slices.BinarySearchFunc(c.infos, block, func(s commitlog.Info, block uint64) int {
		return cmp.Compare(index.ControlBlock(s.Last), block)
	})
	for ; i < len(c.infos) && index.ControlBlock(c.infos[i].Base) <= block; i++ {
		c.out[i].controls = true
	}
	return nil
}

// refer counts a reference. Most are in the segment of the last one or behind it.
func (c *counter) refer(lsn record.LSN) {
	if len(c.infos) == 0 || lsn == 0 {
		return
	}
	if s := &c.infos[c.at]; lsn < s.Base || lsn > s.Last {
		c.at, _ = slices.BinarySearchFunc(c.infos, lsn, func(s commitlog.Info, lsn record.LSN) int {
			return cmp.Compare(s.Last, lsn)
		})
		if c.at == len(c.infos) {
			c.at--
			return
		}
	}
	if lsn >= c.infos[c.at].Base {
		c.out[c.at].live++
	}
}
