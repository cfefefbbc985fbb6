package core

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/metadata"
)

// maxEnded bounds how many ended cursors are remembered while the metadata store
// is away. Above it all published offsets are compared with the cursors there
// are, once the store is back.
const maxEnded = 1 << 16

// ended is a published cursor that is to be deleted; cursor 0 stands for all of
// the stream.
type ended struct{ stream, cursor uint64 }

// unpublish are cursors that have ended and may still be published.
type unpublish struct {
	mu    sync.Mutex
	ended map[ended]struct{}
	all   bool // too many have ended to remember each
	swept bool // compared once; only the publishing goroutine uses it
}

func (u *unpublish) add(e ended) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.all:
	case len(u.ended) == maxEnded:
		u.all, u.ended = true, nil
	default:
		if u.ended == nil {
			u.ended = map[ended]struct{}{}
		}
		u.ended[e] = struct{}{}
	}
}

// again has all that is published compared.
func (u *unpublish) again() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = true
}

func (u *unpublish) take() (list map[ended]struct{}, all bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	list, all = u.ended, u.all
	u.ended, u.all = nil, false
	return list, all
}

// unpublishRound deletes the published offsets of cursors that have ended. At
// the first time it looks at all that are published: a crash forgets which have
// ended.
func (b *Broker) unpublishRound(ctx context.Context, shards []shardOffsets) error {
	u := &b.unpublish
	list, all := u.take()
	for i := range shards {
		shards[i].left = slices.DeleteFunc(shards[i].left, func(o metadata.Offset) bool { return !b.hasCursor(&o) })
	}
	var err error
	if all || !u.swept {
		if err = b.sweepOffsets(ctx); err == nil {
			u.swept = true
			return nil
		}
		if all {
			u.again()
		}
	}
	for e := range list {
		if err == nil {
			err = b.dropOffset(ctx, e)
		}
		if err != nil {
			u.add(e)
		}
	}
	return err
}

// sweepOffsets compares what is published with the cursors of the shards. It
// deletes the offsets that have no cursor any more, and at the first time those of records that the log has
// lost: others will have their numbers.
func (b *Broker) sweepOffsets(ctx context.Context) error {
	if err := b.deps.Catalog.DropOldOffsets(ctx); err != nil {
		return err
	}
	lacks := make([]uint64, len(b.shards)) // the newest record of which offsets tell, where the log lacks it
	defer func() {
		for i, lsn := range lacks {
			if lsn > 0 {
				b.deps.Log.Error("log ended before a record that was on stable storage, as published offsets tell: what was confirmed may be lost",
					slog.Int("shard", i), slog.Uint64("log_end", uint64(b.begun[i])), slog.Uint64("lsn", lsn))
			}
		}
	}()
	return b.deps.Catalog.EachOffset(ctx, func(o *metadata.Offset) error {
		if o.Incarnation != b.identity.Cluster || int64(o.Shard) >= int64(len(b.shards)) {
			return nil
		}
		lost := !b.unpublish.swept && o.LSN > uint64(b.begun[o.Shard])
		if !lost && b.hasCursor(o) {
			b.shards[o.Shard].Published(cursorState(o))
			return nil
		}
		if lost {
			lacks[o.Shard] = max(lacks[o.Shard], o.LSN)
		}
		ctx, cancel := context.WithTimeout(ctx, offsetTimeout)
		defer cancel()
		return b.deps.Catalog.DeleteOffset(ctx, o.Stream, o.Cursor)
	})
}

func (b *Broker) hasCursor(o *metadata.Offset) bool {
	return int64(o.Shard) < int64(len(b.shards)) && b.shards[o.Shard].HasCursor(record.StreamID(o.Stream), o.Cursor)
}

func (b *Broker) dropOffset(ctx context.Context, e ended) error {
	ctx, cancel := context.WithTimeout(ctx, offsetTimeout)
	defer cancel()
	if e.cursor == 0 {
		return b.deps.Catalog.DeleteOffsets(ctx, e.stream)
	}
	return b.deps.Catalog.DeleteOffset(ctx, e.stream, e.cursor)
}
