package metadata

import (
	"context"
	"fmt"
)

// Limits of one transaction of offsets.
const (
	offsetsPerTxn = MaxTxnOps
	offsetBytes   = 512 << 10
	offsetRanges  = 64
)

// PutOffsets publishes cursors, in transactions bounded by bytes and by 128
// puts. Each transaction stands for itself: after an error some may have been
// applied. Of several offsets of one cursor the last one counts.
func (c *Catalog) PutOffsets(ctx context.Context, offsets []Offset) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	ops := make([]Op, 0, min(len(offsets), offsetsPerTxn))
	place := make(map[string]int, cap(ops)) // key to index in ops
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, _, err := c.store.Txn(ctx, nil, ops)
		ops, size = ops[:0], 0
		clear(place)
		return asUnavailable(ctx, err)
	}
	for i := range offsets {
		if len(offsets[i].Ranges) > offsetRanges {
			return fmt.Errorf("put offset of stream %d with %d ranges: %w",
				offsets[i].Stream, len(offsets[i].Ranges), ErrInvalid)
		}
		value, err := encode(&offsets[i])
		if err != nil {
			return err
		}
		key := c.keys.offset(&offsets[i])
		if j, again := place[key]; again {
			size += len(value) - len(ops[j].Value)
			ops[j].Value = value
			continue
		}
		if more := len(key) + len(value); len(ops) == offsetsPerTxn || size+more > offsetBytes {
			if err := flush(); err != nil {
				return fmt.Errorf("put offsets: %w", err)
			}
		}
		place[key] = len(ops)
		ops = append(ops, Op{Key: key, Value: value})
		size += len(key) + len(value)
	}
	if err := flush(); err != nil {
		return fmt.Errorf("put offsets: %w", err)
	}
	return nil
}

// DeleteOffsets removes all published cursors of a stream.
func (c *Catalog) DeleteOffsets(ctx context.Context, stream uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	prefix := c.keys.offsetsOf(stream)
	if _, _, err := c.store.Txn(ctx, nil, []Op{{Key: prefix, Prefix: true}}); err != nil {
		return fmt.Errorf("delete offsets of stream %d: %w", stream, asUnavailable(ctx, err))
	}
	return nil
}

// DeleteOffset removes the published copies of one cursor, in all shards.
func (c *Catalog) DeleteOffset(ctx context.Context, stream, cursor uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	prefix := c.keys.offsetOf(stream, cursor)
	if _, _, err := c.store.Txn(ctx, nil, []Op{{Key: prefix, Prefix: true}}); err != nil {
		return fmt.Errorf("delete offset %d of stream %d: %w", cursor, stream, asUnavailable(ctx, err))
	}
	return nil
}

// DropOldOffsets removes what was published below the catalog's own root, where
// nothing reads it any more.
func (c *Catalog) DropOldOffsets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if _, _, err := c.store.Txn(ctx, nil, []Op{{Key: c.keys.prefix(kindOffsets), Prefix: true}}); err != nil {
		return fmt.Errorf("delete old offsets: %w", asUnavailable(ctx, err))
	}
	return nil
}

// Offsets returns all published cursors, ordered by stream, cursor and shard. They are not kept in memory.
func (c *Catalog) Offsets(ctx context.Context) ([]Offset, error) {
	var out []Offset
	err := c.EachOffset(ctx, func(o *Offset) error {
		out = append(out, *o)
		return nil
	})
	return out, err
}

// EachOffset calls fn for every published cursor, ordered by stream, cursor and shard.
// Each page is as of its own moment, so that a read that takes long does not
// outlive the store's history. An error of fn ends it and is returned.
func (c *Catalog) EachOffset(ctx context.Context, fn func(*Offset) error) error {
	for after := ""; ; {
		page, _, err := c.store.Range(ctx, c.keys.offsets, after, pageSize, 0)
		if err != nil {
			return fmt.Errorf("read offsets: %w", asUnavailable(ctx, err))
		}
		for _, kv := range page {
			after = kv.Key
			o, err := c.keys.decodeOffset(kv.Key, kv.Value)
			if err != nil {
				return err
			}
			if err := fn(&o); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

func (k keys) decodeOffset(key string, value []byte) (o Offset, err error) {
	if err := decode(value, &o); err != nil {
		return o, fmt.Errorf("key %q: %w", key, err)
	}
	return o, k.splitOffset(key, &o)
}

// OffsetsPrefix is what the keys of a cluster's published offsets begin with, for tools
// that read a store without a catalog.
func OffsetsPrefix(cluster string) string { return newKeys(cluster).offsets }

// DecodeOffset reads a published offset of a cluster as the store has it.
func DecodeOffset(cluster, key string, value []byte) (Offset, error) {
	return newKeys(cluster).decodeOffset(key, value)
}
