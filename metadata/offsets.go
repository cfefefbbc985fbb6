package metadata

import (
	"context"
	"errors"
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
	prefix := c.keys.prefix(kindOffsets, number(stream))
	if _, _, err := c.store.Txn(ctx, nil, []Op{{Key: prefix, Prefix: true}}); err != nil {
		return fmt.Errorf("delete offsets of stream %d: %w", stream, asUnavailable(ctx, err))
	}
	return nil
}

// DeleteOffset removes the published copy of one cursor.
func (c *Catalog) DeleteOffset(ctx context.Context, stream, cursor uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	key := c.keys.offset(&Offset{Stream: stream, Cursor: cursor})
	if _, _, err := c.store.Txn(ctx, nil, []Op{{Key: key}}); err != nil {
		return fmt.Errorf("delete offset %d of stream %d: %w", cursor, stream, asUnavailable(ctx, err))
	}
	return nil
}

// Offsets reads all published cursors from the store, as of one revision,
// ordered by stream and cursor. They are not kept in memory.
func (c *Catalog) Offsets(ctx context.Context) ([]Offset, error) {
	out, err := c.readOffsets(ctx)
	for errors.Is(err, ErrCompacted) { // slower than the compaction: from the start
		out, err = c.readOffsets(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read offsets: %w", err)
	}
	return out, nil
}

func (c *Catalog) readOffsets(ctx context.Context) ([]Offset, error) {
	var out []Offset
	_, err := c.readPages(ctx, c.keys.prefix(kindOffsets), 0, func(kv KV) error {
		_, names, err := c.keys.split(kv.Key)
		if err != nil {
			return err
		}
		if len(names) != 2 {
			return fmt.Errorf("key %q: %w", kv.Key, ErrInvalid)
		}
		var o Offset
		if err := decode(kv.Value, &o); err != nil {
			return fmt.Errorf("key %q: %w", kv.Key, err)
		}
		if o.Stream, err = parseNumber(names[0]); err != nil {
			return err
		}
		if o.Cursor, err = parseNumber(names[1]); err != nil {
			return err
		}
		out = append(out, o)
		return nil
	})
	return out, err
}
