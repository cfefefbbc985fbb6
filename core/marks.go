package core

import (
	"context"
	"log/slog"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/metadata"
)

// Beside the offsets the broker publishes a mark of each shard: how far its log has come
// to stable storage. Nothing else that lies outside of the data directory tells that of a
// log whose messages nobody acknowledges. A start compares: a log that ends before its
// mark is an older copy, or was cut, and what is missing of it was confirmed.

// publishMarks publishes the marks that have moved.
func (b *Broker) publishMarks(ctx context.Context, all []shardOffsets) {
	var moved []metadata.Mark
	for i, s := range b.shards {
		if lsn := s.Synced(); lsn > all[i].marked {
			moved = append(moved, metadata.Mark{Shard: uint32(i), Incarnation: b.identity.Cluster, LSN: uint64(lsn)})
		}
	}
	if len(moved) == 0 {
		return
	}
	if err := b.deps.Catalog.PutMarks(ctx, moved); err != nil {
		b.deps.Log.Debug("marks not published, will be tried again", slog.Any("error", err))
		return
	}
	for i := range moved {
		all[moved[i].Shard].marked = record.LSN(moved[i].LSN)
	}
}

// readMarks returns what is published of the shards of this very log; nothing while the
// metadata store is away.
func (b *Broker) readMarks(ctx context.Context) map[uint32]record.LSN {
	marks, err := b.deps.Catalog.Marks(ctx)
	if err != nil {
		b.deps.Log.Warn("marks not read: a log that is older than the metadata would not be noticed", slog.Any("error", err))
	}
	reached := map[uint32]record.LSN{}
	for i := range marks {
		if marks[i].Incarnation == b.identity.Cluster {
			reached[marks[i].Shard] = record.LSN(marks[i].LSN)
		}
	}
	return reached
}
