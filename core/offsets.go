package core

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
	"github.com/tidegate/tidegate/metadata"
)

// offsetBatch is how many cursors are published at a time.
const offsetBatch = 4096

// offsetTimeout bounds one publication; while the store is away, serving goes
// on and the published copy ages.
const offsetTimeout = 10 * time.Second

// lastTimeout bounds the last publication, when the broker closes.
const lastTimeout = 2 * time.Second

// ended is a published cursor that is to be deleted; cursor 0 stands for all of
// the stream.
type ended struct{ stream, cursor uint64 }

// unpublish are cursors that have ended and may still be published.
type unpublish struct {
	mu    sync.Mutex
	ended []ended
}

func (u *unpublish) add(e ended) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = append(u.ended, e)
}

func (u *unpublish) take() []ended {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.ended
	u.ended = nil
	return s
}

// publishOffsets copies cursors that moved to the metadata store, for tools,
// other brokers and a broker that lost its index. The log stays the truth:
// only acks that it holds are published.
func (b *Broker) publishOffsets(ctx context.Context) work.Loop {
	left := make([][]metadata.Offset, len(b.shards)) // not yet accepted by the store
	return work.Every("offsets", b.deps.Clock, b.cfg.OffsetInterval, ctx.Done(), func(time.Time) {
		b.publishRound(ctx, left)
	}, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
		defer cancel()
		b.publishRound(last, left)
	})
}

// publishRound publishes what has moved. left is what the store did not accept
// in earlier rounds, by shard.
func (b *Broker) publishRound(ctx context.Context, left [][]metadata.Offset) {
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
	for i, list := 0, b.unpublish.take(); i < len(list); i++ {
		if err := b.dropOffset(ctx, list[i]); err != nil {
			for _, e := range list[i:] {
				b.unpublish.add(e)
			}
			return
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

func (b *Broker) dropOffset(ctx context.Context, e ended) error {
	ctx, cancel := context.WithTimeout(ctx, offsetTimeout)
	defer cancel()
	if e.cursor == 0 {
		return b.deps.Catalog.DeleteOffsets(ctx, e.stream)
	}
	return b.deps.Catalog.DeleteOffset(ctx, e.stream, e.cursor)
}
