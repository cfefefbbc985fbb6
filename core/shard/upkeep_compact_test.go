package shard

import (
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// TestUpkeepFreesCompactedMessagesOfRewrittenSegments compacts a stream after its
// segments were rewritten with zstd, as upkeep does within a second or two, and
// compaction only after a minute.
func TestUpkeepFreesCompactedMessagesOfRewrittenSegments(t *testing.T) {
	u := newUpkept(t, nil)
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}, true))
	for i := range 400 {
		if i%20 == 0 {
			u.keep(strconv.Itoa(i), false, 1) // stays: so no segment is dropped whole
		} else {
			u.keep("k", false, 1)
		}
	}
	u.settle()
	before := u.UpkeepStats()
	u.retain(time.Now().Add(time.Hour))
	for range 40 {
		u.keep("k", false, 1)
	}
	u.rest(t)
	for n := 0; u.Upkeep(t.Context()); n++ {
		if n == 100 {
			t.Error("upkeep does not come to an end")
			break
		}
		if n%5 == 4 {
			u.rest(t)
		}
	}
	after := u.UpkeepStats()
	if after.Bytes > before.Bytes/2 {
		t.Errorf("the log had %d bytes, and has %d of which 21 old messages and 40 new ones are needed; %d were rewritten, %d written",
			before.Bytes, after.Bytes, after.Rewritten-before.Rewritten, after.Written-before.Written)
	}
}
