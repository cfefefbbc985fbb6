package metadata

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Mark tells how far the log of a shard has come to stable storage. It is published
// beside the offsets, below a root of its own that the catalog's watch does not hear:
// "/tidegate-marks/<cluster>/<shard>", the shard as 8 hex digits.
type Mark struct {
	Shard       uint32 `json:"shard"`
	Incarnation string `json:"incarnation"` // of the log
	LSN         uint64 `json:"lsn"`         // that record, and all before it, can't be lost with the power
}

func (k keys) mark(shard uint32) string { return k.marks + fmt.Sprintf("%08x", shard) }

// PutMarks publishes the marks of some shards, each for itself: after an error some may
// have been.
func (c *Catalog) PutMarks(ctx context.Context, marks []Mark) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	for len(marks) > 0 {
		n := min(len(marks), MaxTxnOps)
		ops := make([]Op, n)
		for i := range ops {
			value, err := encode(&marks[i])
			if err != nil {
				return err
			}
			ops[i] = Op{Key: c.keys.mark(marks[i].Shard), Value: value}
		}
		if _, _, err := c.store.Txn(ctx, nil, ops); err != nil {
			return fmt.Errorf("put marks: %w", asUnavailable(ctx, err))
		}
		marks = marks[n:]
	}
	return nil
}

// Marks returns what is published of all shards, by their numbers.
func (c *Catalog) Marks(ctx context.Context) ([]Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var out []Mark
	for after := ""; ; {
		page, _, err := c.store.Range(ctx, c.keys.marks, after, pageSize, 0)
		if err != nil {
			return nil, fmt.Errorf("read marks: %w", asUnavailable(ctx, err))
		}
		for _, kv := range page {
			after = kv.Key
			m, err := c.keys.decodeMark(kv.Key, kv.Value)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
		if len(page) < pageSize {
			return out, nil
		}
	}
}

func (k keys) decodeMark(key string, value []byte) (m Mark, err error) {
	if err := decode(value, &m); err != nil {
		return m, fmt.Errorf("key %q: %w", key, err)
	}
	digits, below := strings.CutPrefix(key, k.marks)
	shard, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || !below || uint32(shard) != m.Shard {
		return m, fmt.Errorf("key %q of shard %d: %w", key, m.Shard, ErrInvalid)
	}
	return m, nil
}

// MarksPrefix is what the keys of a cluster's marks begin with, for tools that read a
// store without a catalog.
func MarksPrefix(cluster string) string { return newKeys(cluster).marks }

// DecodeMark reads a published mark of a cluster as the store has it.
func DecodeMark(cluster, key string, value []byte) (Mark, error) {
	return newKeys(cluster).decodeMark(key, value)
}
