package shard

import (
	"math"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// prioritised opens a shard with a queue of several priorities.
func prioritised(t *testing.T) *Shard {
	t.Helper()
	s, err := openOn(t, vfs.NewMem(), index.NewMap(), testConfig(64))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	must(t, s.Configure(1, QueueSettings{Bounds: queue.Bounds{Weighed: true, Bytes: math.MaxUint64}, Highest: 9}))
	return s
}

// A priority whose bytes could not be counted when its stream was made has them
// counted when it is asked for again.
func TestPriorityCountsBytesAfterAnError(t *testing.T) {
	s := prioritised(t)
	must(t, s.OpenPriority(1, 5))
	id := PriorityStream(1, 5)
	s.mu.Lock()
	must(t, s.streams[id].countBytes(false)) // as an error of the store leaves it
	s.mu.Unlock()
	must(t, s.OpenPriority(1, 5))
	m := record.Message{Namespace: []byte("/"), Payload: []byte("four"), Streams: []record.StreamID{id}}
	lsn, err := s.Publish(&m, true, nil)
	must(t, err)
	must(t, s.Wait(t.Context(), lsn))
	s.mu.Lock()
	defer s.mu.Unlock()
	if messages, bytes := s.streams[1].waiting(); messages != 1 || bytes != 4 {
		t.Errorf("%d messages of %d bytes wait, want 1 of 4", messages, bytes)
	}
}

// Who ends a queue learns of all its streams, and none of them can be made after that.
func TestDropQueueTellsAllPriorities(t *testing.T) {
	s := prioritised(t)
	for _, priority := range []uint8{3, 9, 1} {
		must(t, s.OpenPriority(1, priority))
	}
	got, err := s.DropQueue(1)
	must(t, err)
	want := []record.StreamID{1, PriorityStream(1, 9), PriorityStream(1, 3), PriorityStream(1, 1)}
	if !slices.Equal(got, want) {
		t.Errorf("dropped %x, want %x", got, want)
	}
	for _, id := range want {
		if s.HasCursor(id, 0) {
			t.Errorf("stream %x is still there", uint64(id))
		}
	}
	if err := s.OpenPriority(1, 4); err == nil {
		t.Error("a priority of a queue that has ended was opened")
	}
	if got, err = s.DropQueue(1); err != nil || !slices.Equal(got, want[:1]) {
		t.Errorf("dropped again %x, %v, want its own stream alone", got, err)
	}
}
