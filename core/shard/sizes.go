package shard

import (
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// sized notes the size of a message that was just appended to a queue. mu is held.
func (st *stream) sized(o record.Offset, m *record.Message) {
	if st.sizes == nil {
		st.sizes = queue.NewSizes(o)
	}
	st.sizes.Add(o, uint32(m.PayloadSize()))
	st.queue.Came(o)
}

// countBytes has the bytes counted that wait in a queue, or not any more. mu is held.
func (st *stream) countBytes(on bool) error {
	switch {
	case on == st.queue.CountsBytes():
		return nil
	case !on:
		st.queue.CountNoBytes()
		st.sizes.Trim(st.sizes.Stored())
		return nil
	case st.sizes == nil:
		st.sizes = queue.NewSizes(st.refs.End())
	}
	if err := st.sizes.Load(st.loadSizes); err != nil {
		return fmt.Errorf("sizes of the messages of stream %x: %w", uint64(st.id), err)
	}
	st.queue.CountBytes(st.sizes, st.refs.End())
	return nil
}

// loadSizes reads those that the store has. What is in memory too is left out.
func (st *stream) loadSizes(into *queue.Sizes) error {
	prefix := index.TransientSizesOfKey(st.id)
	if st.durable {
		prefix = index.SizesOfKey(st.id)
	}
	var sizes []uint32
	return st.s.store.Scan(prefix, func(k, v []byte) error {
		first, err := index.Uint64(k, 1)
		if err != nil {
			return err
		}
		if sizes, err = index.DecodeSizes(v, sizes[:0]); err != nil {
			return err
		}
		for i, size := range sizes {
			if o := record.Offset(first) + record.Offset(i); o >= st.queue.Floor() && o < st.sizes.Stored() {
				into.Add(o, size)
			}
		}
		return nil
	})
}

// gatherSizes appends what the store has not got to the pending batch. mu is held.
func (st *stream) gatherSizes(value *[]byte) {
	if st.sizes == nil {
		return
	}
	key := index.TransientSizesKey
	if st.durable {
		key = index.SizesKey
	}
	st.sizes.Spill(st.refs.Low(), index.ChunkLen, func(first record.Offset, sizes []uint32) {
		*value = index.AppendSizes((*value)[:0], sizes)
		st.s.pending.Set(key(st.id, first), *value)
	}, func(first, end record.Offset) {
		st.s.pending.DeleteRange(key(st.id, first), key(st.id, end))
	})
}

// spilled notes that what was gathered of the stream is in the store, or as good as
// there. mu is held.
func (st *stream) spilled() {
	st.refs.Spilled()
	if st.sizes != nil {
		st.sizes.Spilled(st.refs.End(), st.queue.CountsBytes())
	}
}

// coolSizes frees what a stream that rests does not need. mu is held.
func (st *stream) coolSizes() {
	if st.sizes != nil && !st.queue.CountsBytes() {
		st.sizes = nil
	}
}
