package core_test

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
)

// jumps is a clock whose timers of offset publication, known by their length,
// fire when the test says.
type jumps struct {
	clock.Clock
	interval time.Duration
	mu       sync.Mutex
	ahead    time.Duration
	rounds   chan time.Time // one receive lets one round begin
}

func (j *jumps) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.Clock.Now().Add(j.ahead)
}

func (j *jumps) NewTimer(d time.Duration) *clock.Timer {
	if d != j.interval {
		return j.Clock.NewTimer(d)
	}
	t := j.Clock.NewTimer(time.Hour)
	t.C = j.rounds
	return t
}

// round lets an interval pass.
func (j *jumps) round() {
	j.mu.Lock()
	j.ahead += j.interval
	j.mu.Unlock()
	j.rounds <- j.Now()
}

// TestMetadataAwayForHalfAnHour takes the metadata store away for 1,800
// intervals of a second under load: all goes on, a declare fails and says why,
// and the first round after it publishes all that has moved.
func TestMetadataAwayForHalfAnHour(t *testing.T) {
	const queues = 20
	j := &jumps{Clock: clock.System, interval: time.Second + 1, rounds: make(chan time.Time)}
	w := newWorldWith(t, 2, func(c *core.Config, d *core.Deps) {
		calm(c, d)
		c.OffsetInterval, d.Clock = j.interval, j
	})
	consumers := make([]*core.Consumer, queues)
	wakes := make([]chan struct{}, queues)
	for q := range queues {
		w.queue(strconv.Itoa(q))
		consumers[q], wakes[q] = w.consume(strconv.Itoa(q))
	}
	p := w.publisher(nil)
	settle := func(rounds int) {
		for i := range rounds {
			q := i % queues
			p.send(amqp("", strconv.Itoa(q), strconv.Itoa(i)))
			p.confirmed()
			consumers[q].Settle(core.Ack, w.take(consumers[q], wakes[q], 1)[0].Position)
			j.round()
		}
	}
	settle(queues)
	w.store.SetAway(true)
	settle(1800)
	_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "new", Durable: true})
	if err == nil {
		t.Error("a declare while the metadata store is away: got nil, want an error")
	} else {
		t.Logf("a declare while the metadata store is away: %v", err)
	}
	w.store.SetAway(false)
	for range 2 { // the end of the second begins after the first has ended
		j.round()
	}
	j.round()
	offsets, err := w.cat.Offsets(t.Context())
	w.must(err)
	if len(offsets) != queues {
		t.Errorf("published: got %d cursors, want %d", len(offsets), queues)
	}
	for i := range offsets {
		if want := uint64(1 + 1800/queues); offsets[i].Floor != want || offsets[i].Ranges != nil {
			t.Errorf("published: got %+v, want a floor of %d", offsets[i], want)
		}
	}
}

// TestUpkeepWaitsForMetadata drains a queue while the metadata store is away: the
// log keeps the acks for as long as a restart of the store takes, and no longer.
func TestUpkeepWaitsForMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, func(c *core.Config, d *core.Deps) {
			calm(c, d)
			c.SegmentBytes, c.CheckpointInterval, c.OffsetInterval = 64<<10, time.Second, time.Second
			c.Upkeep.Compress = false
		})
		w.queue("q")
		p := w.publisher(nil)
		c, wake := w.consume("q")
		drain := func() {
			for range 200 {
				p.send(amqp("", "q", noise(w, 2048)))
			}
			p.confirmed()
			for _, d := range w.take(c, wake, 200) {
				c.Settle(core.Ack, d.Position)
			}
		}
		freed := func(seconds int) (bytes uint64) {
			before := w.Stats().Upkeep
			for range seconds {
				pass()
			}
			after := w.Stats().Upkeep
			return after.Dropped + after.Rewritten - before.Dropped - before.Rewritten
		}
		drain()
		if freed(10) == 0 {
			t.Error("freed nothing while the store was there")
		}
		w.store.SetAway(true)
		drain()
		if n := freed(45); n != 0 {
			t.Errorf("freed %d bytes while acks were not published", n)
		}
		if freed(45) == 0 {
			t.Error("freed nothing although the store stayed away")
		}
		w.store.SetAway(false)
		if freed(10); w.Err() != nil {
			t.Error(w.Err())
		}
		w.store.SetAway(true)
		drain()
		if n := freed(45); n != 0 {
			t.Errorf("freed %d bytes in a second outage", n)
		}
		w.store.SetAway(false)
		if freed(10) == 0 {
			t.Error("freed nothing once the store was back")
		}
	})
}

// TestForeignOffsets publishes cursors that are no concern of this log, and loses
// the index: none of them settles anything.
func TestForeignOffsets(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 10 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	p.confirmed()
	q, _ := w.cat.Queue("/", "q")
	w.close()
	for _, o := range []metadata.Offset{
		{Stream: q.Stream, LSN: 5, Floor: 5, Incarnation: "another log"},
		{Stream: q.Stream + 1, LSN: 5, Floor: 5, Incarnation: "this"},
	} {
		if o.Incarnation == "this" {
			o.Incarnation = incarnation(w)
		}
		w.loseIndex()
		cat, err := metadata.OpenCatalog(t.Context(), w.store, metadata.CatalogConfig{Cluster: "test"}, slog.New(slog.DiscardHandler))
		w.must(err)
		w.must(cat.PutOffsets(t.Context(), []metadata.Offset{o}))
		w.must(cat.Close())
		w.open()
		c, wake := w.consume("q")
		w.take(c, wake, 10) // fails when there are fewer
		w.close()
	}
	w.open()
}

// incarnation reads which log the world's is.
func incarnation(w *world) string {
	f, err := w.fs.Open("data/IDENTITY")
	w.must(err)
	var id struct{ Cluster string }
	w.must(json.NewDecoder(f).Decode(&id))
	w.must(f.Close())
	return id.Cluster
}
