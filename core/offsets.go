package core

import (
	"context"
	"log/slog"
	"math"
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

// publishGrace is how long publication may fail before the disk counts for more:
// then segments are freed although acks in them are not published, so that a
// metadata store that stays away does not fill the disk. An index lost in that
// state takes these acks with it. It is well above a restart or an election of the
// store, and far below the time in which a log fills a disk.
const publishGrace = time.Minute

// shardOffsets is how far a shard's cursors are published. Only the publishing loop
// uses it.
type shardOffsets struct {
	left    []metadata.Offset // not yet accepted by the store
	marked  record.LSN        // the mark that the store has
	failing time.Time         // since when no round has published all; zero when the last one has
}

// publishOffsets copies cursors that moved to the metadata store, for tools,
// other brokers and a broker that lost its index. The log stays the truth:
// only acks that it holds are published.
func (b *Broker) publishOffsets(ctx context.Context) work.Loop {
	all := make([]shardOffsets, len(b.shards))
	return work.Every("offsets", b.deps.Clock, b.cfg.OffsetInterval, ctx.Done(), func(time.Time) {
		b.publishRound(ctx, all)
	}, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
		defer cancel()
		b.publishRound(last, all)
	})
}

// publishRound publishes what has moved, and tells the shards what is published
// now. What has moved since the store failed waits in the shards, each cursor once
// however often it moves.
func (b *Broker) publishRound(ctx context.Context, all []shardOffsets) {
	now := b.deps.Clock.Now()
	err := b.unpublishRound(ctx, all)
	if err != nil {
		b.deps.Log.Debug("ended offsets not removed, will be tried again", slog.Any("error", err))
	}
	var failed error
	for i, s := range b.shards {
		o := &all[i]
		upTo := s.FlushAcks()
		shardErr := err
		if shardErr == nil {
			if shardErr = b.publishShard(ctx, i, o); shardErr != nil {
				b.deps.Log.Debug("offsets not published, will be tried again", slog.Any("error", shardErr))
			}
		}
		if shardErr != nil {
			failed = shardErr
		}
		switch {
		case shardErr == nil:
			o.failing = time.Time{}
			s.PublishedUpTo(upTo)
		case o.failing.IsZero():
			o.failing = now
		case now.Sub(o.failing) > publishGrace:
			s.PublishedUpTo(math.MaxUint64)
		}
	}
	if failed == nil { // else the store is away, and one more wait for it tells nothing
		b.publishMarks(ctx, all)
	}
}

// publishShard publishes what has moved of a shard.
func (b *Broker) publishShard(ctx context.Context, i int, o *shardOffsets) (err error) {
	for more := true; more; {
		if len(o.left) == 0 {
			if o.left, more, err = b.movedOffsets(i, o.left); err != nil {
				return err
			}
		}
		if err := b.putOffsets(ctx, o.left); err != nil {
			return err
		}
		o.left = o.left[:0]
	}
	return nil
}

// movedOffsets appends what has moved of a shard and is durable, and tells whether
// there is more. It waits for the log whatever the context: cursors that are taken
// are not told again.
func (b *Broker) movedOffsets(i int, dst []metadata.Offset) (_ []metadata.Offset, more bool, err error) {
	s := b.shards[i]
	states, lsn, more := s.Moved(nil, offsetBatch)
	if len(states) == 0 {
		return dst, more, nil
	}
	if err := s.Await(lsn); err != nil {
		return dst, false, err
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
	return dst, more, nil
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
