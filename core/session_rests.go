package core

import (
	"sync/atomic"

	"github.com/tidegate/tidegate/core/record"
)

// A value that an adapter keeps may tell of a message that the session was given:
// where it is, or that the client has it. The message may lie in another shard, and
// wait there for a sync that its durability does not ask for. A loss of power must
// not keep the value and lose the message: the place in the log that the value names
// would be another message's, which would be taken for the one that the client has.
// So the message is synced first. What lies in the home shard is before the value in
// the same log.

// delivered is, by shard, the newest record that a session was given.
type delivered []atomic.Uint64

// note notes a delivery.
func (d delivered) note(shard uint32, lsn LSN) {
	for {
		newest := d[shard].Load()
		if uint64(lsn) <= newest || d[shard].CompareAndSwap(newest, uint64(lsn)) {
			return
		}
	}
}

// beforeValue waits for what a value rests on, or the end of one.
func (h *Session) beforeValue(present bool) error {
	switch {
	case !present:
		return h.awaitAcked()
	case h.durable:
		return h.syncDelivered()
	}
	return nil
}

// syncDelivered brings all that the session was given from other shards than its home
// to stable storage.
func (h *Session) syncDelivered() error {
	for i := range h.delivered {
		lsn := record.LSN(h.delivered[i].Load())
		if lsn == 0 || uint32(i) == h.home {
			continue
		}
		if err := h.b.shards[i].SyncTo(lsn); err != nil {
			return h.b.storageError(err)
		}
	}
	return nil
}
