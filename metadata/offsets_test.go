package metadata_test

import (
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// countStore counts the transactions and checks their size.
type countStore struct {
	*memory.Store
	t    *testing.T
	txns int
}

func (s *countStore) Txn(
	ctx context.Context, compares []metadata.Compare, ops []metadata.Op,
) (bool, metadata.Revision, error) {
	size := 0
	for _, op := range ops {
		size += len(op.Key) + len(op.Value)
	}
	if len(ops) > 128 || size > 512<<10 {
		s.t.Errorf("transaction: got %d ops, %d bytes, want at most 128 and 512 KiB", len(ops), size)
	}
	s.txns++
	return s.Store.Txn(ctx, compares, ops)
}

func TestOffsets(t *testing.T) {
	store := &countStore{Store: memory.New(), t: t}
	c := open(t, store)
	ranges := make([][2]uint64, 64)
	for i := range ranges {
		ranges[i] = [2]uint64{math.MaxUint64 - uint64(200-2*i), math.MaxUint64 - uint64(199-2*i)}
	}
	var want []metadata.Offset // one cursor in several shards, among others
	for i := range uint64(1300) {
		want = append(want, metadata.Offset{
			Stream: i / 4, Cursor: i / 2 % 2, Shard: uint32(i % 2), Incarnation: "abc",
			LSN: math.MaxUint64 - i, Floor: 1<<53 + 1, Ranges: ranges,
		})
	}
	tests := []struct {
		name    string
		offsets []metadata.Offset
		txns    int
	}{
		{"none", nil, 0},
		{"one transaction", plain(128), 1},
		{"one more", plain(129), 2},
		{"one cursor many times", append(plain(1), append(plain(1), want[0])...), 1},
		{"bounded by bytes or puts", want, 11},
	}
	for _, tt := range tests {
		before := store.txns
		if err := c.PutOffsets(t.Context(), tt.offsets); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := store.txns - before; got != tt.txns {
			t.Errorf("%s: got %d transactions, want %d", tt.name, got, tt.txns)
		}
	}
	got, err := c.Offsets(t.Context())
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("offsets: %v, got differs (-want +got):\n%s", err, d)
	}
	for stream := range uint64(324) {
		if err := c.DeleteOffsets(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	got, err = c.Offsets(t.Context())
	if d := cmp.Diff(want[1296:], got, cmpopts.EquateEmpty()); err != nil || d != "" {
		t.Errorf("offsets after deletes: %v, got differs (-want +got):\n%s", err, d)
	}
	err = c.PutOffsets(t.Context(), []metadata.Offset{{Ranges: make([][2]uint64, 65)}})
	wantError(t, "65 ranges", err, metadata.ErrInvalid)
}

func plain(n int) []metadata.Offset {
	out := make([]metadata.Offset, n)
	for i := range out {
		out[i] = metadata.Offset{Stream: uint64(i)}
	}
	return out
}
