package shard

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// TestSlowIndexUnderAReaderStopsNobodyElse lets a read of what the index has of a stream
// queue hang, for who reads it and for who looks for a place in it: publishing with
// confirm to another queue goes on.
func TestSlowIndexUnderAReaderStopsNobodyElse(t *testing.T) {
	fetch := func(_ *Shard, c *GroupConsumer) error {
		_, err := c.Fetch(nil, 100)
		return err
	}
	for name, test := range map[string]struct {
		hangs int64 // the read of the index that does
		read  func(*Shard, *GroupConsumer) error
	}{
		"what is known of a chunk":   {1, fetch},
		"the references of a chunk":  {2, fetch},
		"whether a message is there": {1, func(_ *Shard, c *GroupConsumer) error { c.Truncated(5); return nil }},
		"a place by time": {3, func(s *Shard, _ *GroupConsumer) error {
			_, err := s.resolve(1, Start{Kind: StartTime, Time: 1})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store := &slowStore{Map: index.NewMap()}
			cfg := testConfig(64)
			cfg.TailBytes = 1 << 14
			s, err := openOn(t, vfs.NewMem(), store, cfg)
			must(t, err)
			defer s.Close()
			must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
			must(t, s.CreateStream(record.Stream{ID: 2, Namespace: "/", Name: "q"}, true))
			putNumbered(t, s, 1, 0, 2000)
			c, err := s.ConsumeKept(t.Context(), 1, &Reading{
				Start: Start{Kind: StartFirst}, Notify: func() {}, Cancelled: func() {},
			})
			must(t, err)
			reached, open := make(chan struct{}), make(chan struct{})
			var calls atomic.Int64
			wait := func() {
				if calls.Add(1) == test.hangs {
					close(reached)
					<-open
				}
			}
			store.wait.Store(&wait)
			done := make(chan error, 1)
			go func() { done <- test.read(s, c) }()
			<-reached
			must(t, s.Wait(t.Context(), s.publishTo(t, 2, 10)))
			close(open)
			must(t, <-done)
		})
	}
}
