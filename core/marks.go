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

// publishMarks publishes the marks that have moved. Before the first time it compares what
// is published: the metadata may have been away when the logs were opened, and a mark that
// a log lacks is not replaced by a lower one.
func (b *Broker) publishMarks(ctx context.Context, all []shardOffsets) {
	if !b.compared {
		reached, err := b.readMarks(ctx)
		if err != nil {
			b.deps.Log.Debug("marks not published, will be tried again", slog.Any("error", err))
			return
		}
		b.compareMarks(all, reached)
		b.compared = true
	}
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

// compareMarks takes what is published, and tells of a log that had ended before.
func (b *Broker) compareMarks(all []shardOffsets, reached map[uint32]record.LSN) {
	for i := range all {
		all[i].marked = reached[uint32(i)]
		if all[i].marked > b.begun[i] {
			b.deps.Log.Error("log ended before a record that was on stable storage, as its mark tells: what was confirmed may be lost",
				slog.Int("shard", i), slog.Uint64("log_end", uint64(b.begun[i])), slog.Uint64("lsn", uint64(all[i].marked)))
		}
	}
}

// readMarks returns what is published of the shards of this very log.
func (b *Broker) readMarks(ctx context.Context) (map[uint32]record.LSN, error) {
	marks, err := b.deps.Catalog.Marks(ctx)
	if err != nil {
		return nil, err
	}
	reached := map[uint32]record.LSN{}
	for i := range marks {
		if marks[i].Incarnation == b.identity.Cluster {
			reached[marks[i].Shard] = record.LSN(marks[i].LSN)
		}
	}
	return reached, nil
}
