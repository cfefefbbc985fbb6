package shard

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestUpkeepRewritesWhatThereIsRoomFor has room for no segment, and then for one at
// a time: upkeep says once that it waits, and then rewrites one after the other.
func TestUpkeepRewritesWhatThereIsRoomFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		u := newUpkept(t, nil)
		defer u.Close()
		const total = 1 << 20
		free := func(room uint64) {
			u.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: total/spareShare + room, TotalBytes: total})
		}
		free(100)
		u.queue(1, true)
		u.queue(2, true)
		for range 60 {
			u.publish(9, to(1))
			u.publish(1, to(2))
		}
		u.drain(1)
		before := len(u.files())
		for range 5 {
			u.settle()
			<-time.After(retryAfter)
		}
		if now := len(u.files()); now < before {
			t.Errorf("without room there are %d files of %d", now, before)
		}
		if n := strings.Count(u.log.String(), errNoRoom.Error()); n != 1 {
			t.Errorf("told %d times that there is no room:\n%s", n, u.log)
		}
		free(smallSegment * 3 / 2)
		<-time.After(retryAfter)
		u.settle()
		u.atMost("with room for one segment", 4)
		if n := u.drain(2); n != 60 {
			t.Errorf("got %d messages, want 60", n)
		}
	})
}
