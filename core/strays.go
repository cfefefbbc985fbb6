package core

import (
	"log/slog"
	"sync"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// Ids of streams tell what is to be made of messages whose stream the log has lost.
const (
	filterBit  record.StreamID = 1 << 63 // a filter's stream, durable or not
	durableBit record.StreamID = 1       // of a queue; one without it ends with the process
)

// queuesOf returns the durable queues of a shard that the metadata knows, as
// streams. They are looked up when they are asked for first.
func (b *Broker) queuesOf(i int) func() map[record.StreamID]record.Stream {
	return sync.OnceValue(func() map[record.StreamID]record.Stream {
		all := map[record.StreamID]record.Stream{}
		for _, ns := range b.deps.Catalog.Namespaces() {
			for _, q := range b.deps.Catalog.Queues(ns.Name) {
				if int(q.Shard) != i {
					continue
				}
				spec := QueueSpec{Name: q.Name, Durable: true, AutoDelete: q.AutoDelete, Args: q.Args}
				info, _, _ := queueStream(ns.Name, &spec, record.StreamID(q.Stream)) // an error is told by addQueue
				all[info.ID] = info
				for priority := range int(highestPriority(&spec)) {
					of := info
					of.ID = shard.PriorityStream(info.ID, uint8(priority+1))
					all[of.ID] = of
				}
			}
		}
		return all
	})
}

// strayStream tells what a stream is of which the log has messages and not the
// creation; false when it has ended with the process.
func strayStream(queues func() map[record.StreamID]record.Stream, id record.StreamID) (record.Stream, bool) {
	if id&filterBit != 0 {
		return record.Stream{ID: id, Filter: true}, true // a session may have it, or none
	}
	if info, known := queues()[id]; known {
		return info, true
	}
	return record.Stream{ID: id}, id&durableBit != 0
}

// queueStream returns the stream of a queue, and its retention if it is a stream
// queue. With an error of that it keeps everything.
func queueStream(namespace string, spec *QueueSpec, id record.StreamID) (record.Stream, *retention, error) {
	info := record.Stream{ID: id, Namespace: namespace, Name: spec.Name}
	kept, err := queueRetention(namespace, spec)
	if kept != nil {
		info.Kept, info.Compacted = true, kept.compacted
	}
	return info, kept, err
}

// endStrays ends what the shards have found again and no session has: of a filter's
// stream without a cursor nobody needs anything.
func (b *Broker) endStrays(sh *shard.Shard, info *record.Stream) error {
	if len(sh.Cursors(info.ID)) > 0 {
		b.deps.Log.Warn("messages of a filter that no session has are kept and not served",
			slog.Uint64("stream", uint64(info.ID)))
		return nil
	}
	_, err := sh.DropStream(info.ID)
	return err
}
