package core

import (
	"context"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/core/record"
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
// in earlier rounds, by shard: what has moved since waits in the shards, each
// cursor once however often it moves.
func (b *Broker) publishRound(ctx context.Context, left [][]metadata.Offset) {
	if err := b.unpublishRound(ctx, left); err != nil {
		b.deps.Log.Debug("ended offsets not removed, will be tried again", slog.Any("error", err))
		return
	}
	for i, s := range b.shards {
		for more := true; more; {
			if len(left[i]) == 0 {
				left[i] = b.movedOffsets(ctx, i, s, left[i])
			}
			if err := b.putOffsets(ctx, left[i]); err != nil {
				b.deps.Log.Debug("offsets not published, will be tried again", slog.Any("error", err))
				break
			}
			more = len(left[i]) >= offsetBatch/2
			left[i] = left[i][:0]
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

// readOffsets gives fn the published cursors of a shard, for a rebuild of its
// index. Those of another incarnation, which is another log, are left out.
func (b *Broker) readOffsets(ctx context.Context, i int, fn func(*shard.CursorState)) error {
	foreign := 0
	err := b.deps.Catalog.EachOffset(ctx, func(o *metadata.Offset) error {
		switch {
		case o.Shard != uint32(i):
		case o.Incarnation != b.identity.Cluster:
			foreign++
		default:
			fn(cursorState(o))
		}
		return nil
	})
	if foreign > 0 {
		b.deps.Log.Warn("published offsets of another log ignored", slog.Int("shard", i), slog.Int("cursors", foreign))
	}
	return err
}

// cursorState is a published cursor in the words of its shard.
func cursorState(o *metadata.Offset) *shard.CursorState {
	c := &shard.CursorState{
		LSN: record.LSN(o.LSN), Stream: record.StreamID(o.Stream), Cursor: o.Cursor, Floor: record.Offset(o.Floor),
	}
	for _, r := range o.Ranges {
		c.Ranges = append(c.Ranges, record.Range{First: record.Offset(r[0]), End: record.Offset(r[1])})
	}
	return c
}
