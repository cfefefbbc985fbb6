package core_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
)

// Put on one shard, settle on another.
func TestPutSettleAcrossShards(t *testing.T) {
	w := newWorld(t, 2)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "t/#")
	p := w.publisher(nil)
	for i := range 20 {
		p.send(mqtt("t/"+strconv.Itoa(i), strconv.Itoa(i), 2))
	}
	p.confirmed()
	got := w.take(s, wake, 20)
	<-time.After(200 * time.Millisecond)
	// Which is the home shard? Try a stalled sync on each.
	for stalled := range 2 {
		dir := fmt.Sprintf("shard-%d", stalled)
		gate := make(chan struct{})
		blocked := make(chan struct{}, 1)
		f := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.Contains(op.Path, dir) {
				select {
				case blocked <- struct{}{}:
				default:
				}
				<-gate
			}
			return nil
		})
		w.fail.Store(&f)
		var settle *core.Delivery
		for i := range got {
			if int(got[i].Position.Shard) != stalled {
				settle = &got[i]
			}
		}
		key := uint32(100 + stalled)
		n, err := s.Put(key, []byte("pubrel"), settle.Position)
		w.must(err)
		home := false // the stalled shard is, so that the value can't be stored
		for stored := uint64(0); !home && stored < n; {
			select {
			case <-blocked:
				home = true
			case <-wake:
				stored, err = s.Stored()
				w.must(err)
			}
		}
		<-time.After(150 * time.Millisecond) // the other shard writes its acks
		after := w.cut(0)
		w.fail.Store(nil)
		close(gate)
		if !home {
			w.store.SetAway(false)
			continue // the value went to the other shard
		}
		w.close()
		w.store.SetAway(false)
		w.fs = after
		w.open()
		s, _, _ = w.session("dev", time.Hour, false)
		found := false
		s.Values(func(k uint32, _ []byte) { found = found || k == key })
		again, err := s.Next(nil, 100)
		w.must(err)
		redelivered := false
		for _, d := range again {
			redelivered = redelivered || d.Position == settle.Position
		}
		if !found && !redelivered {
			t.Errorf("after a crash the value is lost and its position is settled: neither kept nor delivered again")
		}
		return
	}
	t.Fatal("no shard blocked")
}

// The value of a delivery in another shard may go only when the delivery is
// settled for good: else a crash brings it back after it was completed.
func TestCompletedDeliveryStaysSettled(t *testing.T) {
	for topic := range 8 {
		w := newWorld(t, 3)
		s, wake, _ := w.session("dev", time.Hour, false)
		w.subscribe(s, "t/#")
		p := w.publisher(nil)
		p.send(mqtt("t/"+strconv.Itoa(topic), "x", 2))
		p.confirmed()
		pos := w.take(s, wake, 1)[0].Position
		stored := func(n uint64, err error) {
			t.Helper()
			w.must(err)
			for {
				got, err := s.Stored()
				w.must(err)
				if got >= n {
					return
				}
				<-wake
			}
		}
		stored(s.Put(1, []byte("published")))
		stored(s.Put(1, []byte("received"), pos))
		stored(s.Put(1, nil))
		w.crash()
		s, wake, _ = w.session("dev", time.Hour, false)
		p = w.publisher(nil)
		p.send(mqtt("t/"+strconv.Itoa(topic), "next", 2))
		p.confirmed()
		want(t, w.take(s, wake, 1), "next!") // the mark of the log covers it
	}
}
