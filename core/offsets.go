package core

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/metadata"
)

// offsetBatch is how many cursors are published at a time.
const offsetBatch = 4096

// offsetTimeout bounds one publication; while the store is away, serving goes
// on and the published copy ages.
const offsetTimeout = 10 * time.Second

// unpublish are streams whose published cursors are to be deleted.
type unpublish struct {
	mu      sync.Mutex
	streams []uint64
}

func (u *unpublish) add(stream uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.streams = append(u.streams, stream)
}

func (u *unpublish) take() []uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.streams
	u.streams = nil
	return s
}

// publishOffsets copies cursors that moved to the metadata store, for tools,
// other brokers and a broker that lost its index. The log stays the truth:
// only acks that it holds are published.
func (b *Broker) publishOffsets(ctx context.Context) {
	left := make([][]metadata.Offset, len(b.shards)) // not yet accepted by the store
	for {
		t := b.deps.Clock.NewTimer(b.cfg.OffsetInterval)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		for i, s := range b.shards {
			if len(left[i]) < offsetBatch {
				left[i] = b.movedOffsets(ctx, i, s, left[i])
			}
			if err := b.putOffsets(ctx, left[i]); err != nil {
				b.deps.Log.Debug("offsets not published, will be tried again", slog.Any("error", err))
				continue
			}
			left[i] = left[i][:0]
		}
		for _, stream := range b.unpublish.take() {
			if err := b.dropOffsets(ctx, stream); err != nil {
				b.unpublish.add(stream)
				break
			}
		}
	}
}

func (b *Broker) movedOffsets(ctx context.Context, i int, s *shard.Shard, dst []metadata.Offset) []metadata.Offset {
	states, lsn := s.Moved(nil, offsetBatch)
	if len(states) == 0 || s.Wait(ctx, lsn) != nil {
		return dst
	}
	for _, st := range states {
		o := metadata.Offset{
			Stream: uint64(st.Stream), Cursor: st.Cursor, Shard: uint32(i),
			Incarnation: b.identity.Cluster, LSN: uint64(lsn), Floor: uint64(st.Floor),
		}
		for _, r := range st.Ranges {
			o.Ranges = append(o.Ranges, [2]uint64{uint64(r.First), uint64(r.End)})
		}
		dst = append(dst, o)
	}
	return dst
}

func (b *Broker) putOffsets(ctx context.Context, offsets []metadata.Offset) error {
	if len(offsets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, offsetTimeout)
	defer cancel()
	return b.deps.Catalog.PutOffsets(ctx, offsets)
}

func (b *Broker) dropOffsets(ctx context.Context, stream uint64) error {
	ctx, cancel := context.WithTimeout(ctx, offsetTimeout)
	defer cancel()
	return b.deps.Catalog.DeleteOffsets(ctx, stream)
}
