package shard

import (
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// keep publishes a message of 200 bytes with a key to a stream queue, and to others.
func (u *upkept) keep(key string, empty bool, ids ...record.StreamID) {
	u.t.Helper()
	m := record.Message{Namespace: []byte("/"), Key: []byte(key), Streams: ids}
	if !empty {
		m.Payload = make([]byte, 200)
		for i := range m.Payload {
			m.Payload[i] = byte(u.rng.Uint32())
		}
	}
	lsn, err := u.Publish(&m, true, nil)
	must(u.t, err)
	must(u.t, u.Wait(u.t.Context(), lsn))
}

// retain takes steps of retention until nothing is to go.
func (u *upkept) retain(now time.Time) {
	u.t.Helper()
	for {
		u.rest(u.t) // tombstones are looked for in the store
		lsn, err := u.Retain(now, 0)
		must(u.t, err)
		if lsn == 0 {
			return
		}
		must(u.t, u.Wait(u.t.Context(), lsn))
	}
}

// rebuilt opens what a crash leaves without the index.
func (u *upkept) rebuilt() *Shard {
	u.t.Helper()
	s, err := openOn(u.t, u.fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), u.cfg)
	must(u.t, err)
	u.t.Cleanup(func() { must(u.t, s.Close()) })
	return s
}

// TestTruncatedMessagesStayAway loses the index when the records that truncated
// a stream are gone, and segments with truncated messages are not.
func TestTruncatedMessagesStayAway(t *testing.T) {
	u := newUpkept(t, func(cfg *Config) { cfg.Upkeep.RewritePercent, cfg.Upkeep.Compress = 1, false })
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
	u.queue(2, true)
	for range 100 {
		u.keep("k", false, 1, 2) // the queue needs them, so they stay where they are
	}
	for range 600 {
		u.keep("k", false, 1)
	}
	must(t, u.Keep(1, Retention{MaxBytes: 1}))
	u.retain(time.Now())
	for range 300 {
		u.keep("k", false, 1)
	}
	u.queue(3, true)
	u.publish(200, to(3))
	u.retain(time.Now())
	u.publish(200, to(3))
	u.drain(3)
	u.settle()
	want := u.owed(t)["kept 1"]
	again := u.rebuilt()
	if got := again.owed(t)["kept 1"]; got != want {
		t.Errorf("the stream has, before and after the index was lost:\n%s\n%s", want, got)
	}
	if got := again.streams[1].refs.Low(); got != u.streams[1].refs.Low() || got == 0 {
		t.Errorf("the stream begins at %d, and did at %d", got, u.streams[1].refs.Low())
	}
}

// TestForgottenKeysStayAway loses the index when a key's tombstone was forgotten
// and is gone, and a segment with its value is not.
func TestForgottenKeysStayAway(t *testing.T) {
	u := newUpkept(t, func(cfg *Config) { cfg.Upkeep.RewritePercent, cfg.Upkeep.Compress = 1, false })
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}, true))
	u.queue(2, true)
	u.queue(3, true)
	for i := range 50 {
		u.keep("gone", false, 1, 2)
		u.keep(strconv.Itoa(i), false, 1, 2)
	}
	u.publish(200, to(3))
	u.keep("gone", true, 1)
	u.publish(200, to(3))
	u.retain(time.Now().Add(2 * tombstoneAge))
	u.drain(3)
	u.publish(200, to(3))
	u.drain(3)
	u.settle()
	want := u.owed(t)
	again := u.rebuilt()
	got := again.owed(t)
	if got["kept 1"] != want["kept 1"] {
		t.Errorf("the stream has, before and after the index was lost:\n%s\n%s", want["kept 1"], got["kept 1"])
	}
	again.mu.Lock()
	defer again.mu.Unlock()
	if l, ok, err := again.streams[1].kept.lastOf([]byte("gone")); ok || err != nil {
		t.Errorf("the key that was forgotten has the message %+v, %v", l, err)
	}
}

// TestSeekOutlastsTheIndex seeks a group back and loses the index: what was
// published of the group before says nothing.
func TestSeekOutlastsTheIndex(t *testing.T) {
	u := newUpkept(t, nil)
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
	for range 100 {
		u.keep("k", false, 1)
	}
	c, err := u.ConsumeKept(t.Context(), 1, &Reading{
		Group: 7, GroupName: "g", Start: Start{Kind: StartFirst}, Notify: func() {}, Cancelled: func() {},
	})
	must(t, err)
	must(t, u.Wait(t.Context(), u.lastAppended())) // the mark
	refs, err := c.Fetch(nil, 50)
	must(t, err)
	for i := range refs {
		c.Settle([]record.Offset{refs[i].Offset}, false)
	}
	c.Remove()
	old := published{}
	old.publish(t, u.Shard)
	if len(old) != 1 || len(refs) != 50 {
		t.Fatalf("published %d cursors after %d messages", len(old), len(refs))
	}
	must(t, u.SeekGroup(t.Context(), 1, 7, Start{Kind: StartOffset, Offset: 10}))
	u.settle()
	s := openPublished(t, u.fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), u.cfg, old)
	groups, err := s.Groups(1)
	must(t, err)
	if len(groups) != 1 || groups[0].Floor != 10 || groups[0].Lag != 90 {
		t.Errorf("after the index was lost: %+v", groups)
	}
	must(t, s.Close())
}

// TestUpkeepFreesCompactedMessages counts the records that a rewrite leaves of a
// compacted stream.
func TestUpkeepFreesCompactedMessages(t *testing.T) {
	u := newUpkept(t, nil)
	must(t, u.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}, true))
	for i := range 1000 {
		u.keep(strconv.Itoa(i%20), false, 1)
	}
	u.settle()
	before := u.Bytes()
	u.retain(time.Now())
	u.publish(100, to(1)) // the last ones of one key more seal the segment
	u.retain(time.Now())
	u.settle()
	live := uint64(0)
	for _, g := range u.Shard.log.Segments() {
		if c := u.upkeep.census.segments[g.Base]; c != nil && g.Rewritten {
			live += c.live
		}
	}
	if got := u.Bytes(); live > 100 || got > before/5 {
		t.Errorf("%d records count as live, about 21 are; %d bytes left of %d", live, got, before)
	}
	u.readable(t)
	if st := u.owed(t)["kept 1"]; st == "" {
		t.Error("the stream is empty")
	}
}
