package shard

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// slowDisk is a file system whose reads of segments can be made to wait or fail.
type slowDisk struct {
	reads   atomic.Int64
	decide  atomic.Pointer[func(n int64) error] // called for the n-th read since
	reached chan struct{}                       // a token for each read that waits
	opened  chan struct{}
}

func (d *slowDisk) on(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if decide := d.decide.Load(); decide != nil && op.Kind == errorfs.OpFileReadAt && strings.Contains(op.Path, "log") {
			return (*decide)(d.reads.Add(1))
		}
		return nil
	}))
}

// holdFirst makes the next n reads wait.
func (d *slowDisk) holdFirst(n int64) {
	d.reads.Store(0)
	decide := func(read int64) error {
		if read <= n {
			d.reached <- struct{}{}
			<-d.opened
		}
		return nil
	}
	d.decide.Store(&decide)
}

// backlogs opens a shard with queues whose messages have left the memory: all
// of them but the last queue's, which is empty.
func backlogs(t *testing.T, queues, each int) (*Shard, *slowDisk, *slowStore) {
	t.Helper()
	d := &slowDisk{reached: make(chan struct{}, 64), opened: make(chan struct{})}
	store := &slowStore{Map: index.NewMap()}
	cfg := testConfig(64)
	cfg.TailBytes = 1 << 14
	cfg.CacheBytes = 1 << 20
	s, err := openOn(t, d.on(vfs.NewMem()), store, cfg)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	for q := range queues {
		must(t, s.CreateStream(record.Stream{ID: record.StreamID(q + 1), Namespace: "/", Name: string(rune('a' + q))}, true))
	}
	for q := range queues - 1 {
		for i := range each {
			lsn := s.publishTo(t, record.StreamID(q+1), 1000)
			if i%10 == 9 || i == each-1 {
				must(t, s.Wait(t.Context(), lsn))
			}
		}
	}
	return s, d, store
}

func (s *Shard) publishTo(t *testing.T, id record.StreamID, size int) record.LSN {
	t.Helper()
	payload := make([]byte, size)
	for i := range payload { // nothing that can be compressed
		payload[i] = byte(rand.Uint32())
	}
	m := record.Message{Namespace: []byte("/"), Payload: payload, Streams: []record.StreamID{id}}
	lsn, err := s.Publish(&m, true, nil)
	must(t, err)
	return lsn
}

// received is what a consumer got.
type received struct {
	refs []Ref
	err  error
}

// receive fetches and reads up to n messages in a goroutine of its own.
func (s *Shard) receive(t *testing.T, id record.StreamID, n int) (*Consumer, <-chan received) {
	t.Helper()
	ready := make(chan struct{}, 1)
	notify := func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	}
	c, err := s.Consume(id, nil, 0, notify, nil)
	must(t, err)
	out := make(chan received, 1)
	go func() {
		var got received
		h := c.Hint()
		for len(got.refs) < n && got.err == nil {
			before := len(got.refs)
			got.refs, got.err = c.Fetch(got.refs, n-before)
			for i := before; i < len(got.refs) && got.err == nil; i++ {
				var m record.Message
				_, got.err = s.Record(got.refs[i].LSN, &h, &m)
			}
			if len(got.refs) == before && got.err == nil {
				select {
				case <-ready:
				case <-c.left:
					got.err = ErrLeft
				}
			}
		}
		out <- got
	}()
	return c, out
}

// TestSlowReadStopsNobodyElse lets a read of a segment hang: publishing with
// confirm, consuming what is new, settling, and the backlog of another queue go on.
func TestSlowReadStopsNobodyElse(t *testing.T) {
	s, disk, _ := backlogs(t, 3, 200)
	disk.holdFirst(1)
	stuck, stuckOut := s.receive(t, 1, 1)
	<-disk.reached

	lsn := s.publishTo(t, 3, 10)
	must(t, s.Wait(t.Context(), lsn))
	live, liveOut := s.receive(t, 3, 1)
	got := <-liveOut
	must(t, got.err)
	if n := live.Settle([]record.Offset{got.refs[0].Offset}, false); n != 1 {
		t.Errorf("settled %d new messages, want 1", n)
	}
	other, otherOut := s.receive(t, 2, 200)
	got = <-otherOut
	must(t, got.err)
	if n := other.Settle([]record.Offset{0, 1, 2}, false); n != 3 {
		t.Errorf("settled %d of the backlog, want 3", n)
	}
	must(t, s.Wait(t.Context(), s.FlushAcks()))
	for range 100 { // rolls segments
		lsn = s.publishTo(t, 3, 1000)
	}
	must(t, s.Wait(t.Context(), lsn))
	select {
	case <-stuckOut:
		t.Error("the read did not hang")
	default:
	}
	close(disk.opened)
	got = <-stuckOut
	must(t, got.err)
	if n := stuck.Settle([]record.Offset{got.refs[0].Offset}, false); n != 1 {
		t.Errorf("settled %d after the read, want 1", n)
	}
}

// TestRemovedConsumerWaitsNoLonger removes a consumer that waits for a place.
func TestRemovedConsumerWaitsNoLonger(t *testing.T) {
	s, disk, _ := backlogs(t, 2, 400)
	disk.holdFirst(ownerPlaces)
	var hung []<-chan received
	for i := range ownerPlaces { // far from each other, so that each reads
		h := Hint{owner: 1}
		out := make(chan received, 1)
		go func() {
			var m record.Message
			_, err := s.Record(record.LSN(50+150*i), &h, &m)
			out <- received{err: err}
		}()
		hung = append(hung, out)
		<-disk.reached
	}
	c, out := s.receive(t, 1, 1)
	c.Remove()
	if got := <-out; !errors.Is(got.err, ErrLeft) {
		t.Errorf("the removed consumer got %v, want %v", got.err, ErrLeft)
	}
	close(disk.opened)
	for _, out := range hung {
		must(t, (<-out).err)
	}
}

// TestReadersOfOnePlaceReadOnce lets many want the same block at once, and then
// lets that read fail: each reads for itself and gets its own answer.
func TestReadersOfOnePlaceReadOnce(t *testing.T) {
	s, disk, _ := backlogs(t, 2, 100)
	read := func(lsn record.LSN) error {
		var h Hint
		var m record.Message
		_, err := s.Record(lsn, &h, &m)
		return err
	}
	forget := func() {
		s.blocks.mu.Lock()
		defer s.blocks.mu.Unlock()
		s.blocks.byUse, s.blocks.bytes = nil, 0
	}
	must(t, read(60)) // tells how long a block is
	forget()
	disk.holdFirst(1)
	var group sync.WaitGroup
	group.Go(func() { must(t, read(60)) })
	<-disk.reached
	for lsn := record.LSN(60); lsn < 64; lsn++ {
		group.Go(func() { must(t, read(lsn)) })
	}
	close(disk.opened)
	group.Wait()
	s.blocks.mu.Lock()
	if n := len(s.blocks.flights); n != 0 {
		t.Errorf("%d reads are left", n)
	}
	for i, b := range s.blocks.byUse {
		for _, other := range s.blocks.byUse[i+1:] {
			if holds(b, other.Base) != nil || holds(other, b.Base) != nil {
				t.Errorf("records from %d are in two blocks", max(b.Base, other.Base))
			}
		}
	}
	s.blocks.mu.Unlock()

	fails := errors.New("bad sector")
	once := func(n int64) error {
		if n == 1 {
			return fails
		}
		return nil
	}
	disk.reads.Store(0)
	disk.decide.Store(&once)
	forget()
	if err := read(30); !errors.Is(err, fails) {
		t.Errorf("the read that fails: got %v", err)
	}
	must(t, read(30))
}

// TestBlocksAreBounded reads a backlog that is larger than the cache.
func TestBlocksAreBounded(t *testing.T) {
	s, _, _ := backlogs(t, 2, 800)
	s.blocks.limit = 300_000
	_, out := s.receive(t, 1, 800)
	must(t, (<-out).err)
	s.blocks.mu.Lock()
	defer s.blocks.mu.Unlock()
	if s.blocks.bytes > s.blocks.limit || len(s.blocks.byUse) == 0 {
		t.Errorf("%d bytes in %d blocks, want some and at most %d bytes", s.blocks.bytes, len(s.blocks.byUse), s.blocks.limit)
	}
}

// slowStore is a store whose reads can be made to wait.
type slowStore struct {
	*index.Map
	wait atomic.Pointer[func()]
}

func (w *slowStore) Get(key []byte) ([]byte, error) {
	if wait := w.wait.Load(); wait != nil {
		(*wait)()
	}
	return w.Map.Get(key)
}

// TestSlowIndexStopsNobodyElse lets a read of references hang: the state stays
// free for all others, and for spills.
func TestSlowIndexStopsNobodyElse(t *testing.T) {
	s, _, store := backlogs(t, 3, 600)
	reached, open := make(chan struct{}, 8), make(chan struct{})
	var calls atomic.Int64
	wait := func() {
		if calls.Add(1) == 1 {
			reached <- struct{}{}
			<-open
		}
	}
	store.wait.Store(&wait)
	_, stuck := s.receive(t, 1, 600)
	<-reached
	_, other := s.receive(t, 2, 600)
	must(t, (<-other).err)
	var lsn record.LSN
	for range 200 { // several spills
		lsn = s.publishTo(t, 3, 10)
	}
	must(t, s.Wait(t.Context(), lsn))
	_, live := s.receive(t, 3, 200)
	must(t, (<-live).err)
	close(open)
	got := <-stuck
	must(t, got.err)
	for i, ref := range got.refs {
		if ref.Offset != record.Offset(i) || ref.Redelivered {
			t.Fatalf("message %d came as offset %d, redelivered %v", i, ref.Offset, ref.Redelivered)
		}
	}
}

// TestGetHasPlacesOfItsQueue lets reads of what Get took from one queue hang:
// those of another queue go on, and the third of the queue waits until its
// context ends.
func TestGetHasPlacesOfItsQueue(t *testing.T) {
	s, d, _ := backlogs(t, 3, 600)
	take := func(id record.StreamID) record.LSN {
		ref, _, ok, err := s.Get(t.Context(), id)
		must(t, err)
		if !ok {
			t.Fatalf("queue %d is empty", id)
		}
		return ref.LSN
	}
	read := func(ctx context.Context, id record.StreamID, lsn record.LSN) error {
		h, m := GetHint(ctx, id), record.Message{}
		_, err := s.Record(lsn, &h, &m)
		return err
	}
	var lsns []record.LSN
	for i := range 401 { // 200 messages are well more than what is read at once
		lsn := take(1)
		if i%200 == 0 {
			lsns = append(lsns, lsn)
		}
	}
	other := take(2)
	d.holdFirst(ownerPlaces)
	out := make(chan error, ownerPlaces)
	for _, lsn := range lsns[:ownerPlaces] {
		go func() { out <- read(t.Context(), 1, lsn) }()
		<-d.reached
	}
	must(t, read(t.Context(), 2, other))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := read(ctx, 1, lsns[ownerPlaces]); !errors.Is(err, ErrLeft) {
		t.Errorf("a read whose context has ended: %v, want %v", err, ErrLeft)
	}
	close(d.opened)
	for range ownerPlaces {
		must(t, <-out)
	}
}
