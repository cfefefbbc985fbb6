package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lossPublishers is how many clients publish, each to a topic of QoS 1 and to one of QoS 2.
const lossPublishers = 4

// lossRun is a run of TestLossAndOrder.
type lossRun struct {
	t        *testing.T
	b        *broker
	each     uint64        // messages of each publisher and QoS
	progress atomic.Uint64 // messages that were acknowledged to a publisher or seen first by the subscriber
	again    atomic.Uint64 // messages of QoS 1 that came again
	broken   atomic.Int64
	leaves   [len(leaveNames)]int // how often the subscriber left, by how

	publishing sync.WaitGroup
}

// lossSize tells how many messages each publisher sends of each QoS, and how often the
// broker is killed: TIDEGATE_E2E_LOSS is the former, in full 500,000.
func lossSize(t *testing.T) (each uint64, kills int) {
	each, kills = 4_000, 4
	if os.Getenv("TIDEGATE_E2E_LONG") == "1" {
		each, kills = 50_000, 20
	}
	if given := os.Getenv("TIDEGATE_E2E_LOSS"); given != "" {
		n, err := strconv.ParseUint(given, 10, 32)
		if err != nil {
			t.Fatalf("TIDEGATE_E2E_LOSS: %v", err)
		}
		each, kills = n, 20
	}
	return each, kills
}

// TestLossAndOrder has four publishers and one subscriber with a durable session that
// leaves, stalls and comes back as it likes, while the broker is killed again and again.
// Nothing is lost, each topic keeps its order, and QoS 2 comes exactly once.
func TestLossAndOrder(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		each, kills := lossSize(t)
		r := &lossRun{t: t, b: b, each: each}
		sub := newLossSubscriber(r)
		publish, stopPublishing := context.WithCancel(context.Background())
		consume, stopConsuming := context.WithCancel(context.Background())
		var consuming sync.WaitGroup
		sub.prepare()
		began := time.Now()
		consuming.Go(func() { r.keepTrying(consume, sub.connection) })
		for n := range lossPublishers {
			p := newLossPublisher(r, n)
			r.publishing.Go(func() { r.keepTrying(publish, p.connection) })
		}
		t.Cleanup(func() {
			stopPublishing()
			stopConsuming()
			r.publishing.Wait()
			consuming.Wait()
		})
		total := 2 * 2 * lossPublishers * each // published and received, QoS 1 and 2
		for n := range kills {
			r.await(uint64(n+1) * total / uint64(kills+1))
			b.kill()
			b.start()
		}
		r.await(total)
		r.publishing.Wait()
		stopConsuming()
		consuming.Wait()
		t.Logf("%d publishers with %d messages of QoS 1 and %d of QoS 2 each, in %v; %d kills; the subscriber %s; %d of QoS 1 came again; %d promises broken",
			lossPublishers, each, each, time.Since(began).Round(time.Second), kills, r.left(), r.again.Load(), r.broken.Load())
	})
}

// left tells how the subscriber has left.
func (r *lossRun) left() string {
	var ways []string
	for how, n := range r.leaves {
		ways = append(ways, fmt.Sprintf("%s %d times", leaveNames[how], n))
	}
	return strings.Join(ways, ", ")
}

// await waits until the run has got so far, as long as it gets on.
func (r *lossRun) await(progress uint64) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	stalled := time.NewTimer(4 * patience)
	defer stalled.Stop()
	for before := uint64(0); ; {
		now := r.progress.Load()
		if now >= progress {
			return
		}
		if now != before {
			before = now
			stalled.Reset(4 * patience)
		}
		select {
		case <-tick.C:
		case <-stalled.C:
			r.t.Fatalf("stalled at %d of %d: messages are lost", now, progress)
		}
	}
}

// keepTrying serves connection after connection until one tells that all is done.
func (r *lossRun) keepTrying(stop context.Context, connection func(context.Context) (done bool)) {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for !connection(stop) && stop.Err() == nil {
		<-pause.C
	}
}

// breach reports a broken promise, the first ones in full.
func (r *lossRun) breach(format string, args ...any) {
	if r.broken.Add(1) <= 20 {
		r.t.Errorf(format, args...)
	} else {
		r.t.Fail()
	}
}

// The ways in which the subscriber leaves for a while.
const (
	leaveDropped = iota
	leaveGoodbye
	leaveStalled
)

var leaveNames = [...]string{leaveDropped: "broke off", leaveGoodbye: "said goodbye", leaveStalled: "stalled"}

// lossSubscriber is a client of QoS 2 that outlives its connections.
type lossSubscriber struct {
	run    *lossRun
	last   [lossPublishers][3]uint64 // highest number first seen, by publisher and QoS
	open   map[uint16]bool           // QoS 2 identifiers between PUBLISH and PUBREL
	random *rand.Rand
	known  bool // there is a session
}

func newLossSubscriber(r *lossRun) *lossSubscriber {
	seed := rand.Uint64()
	r.t.Logf("the subscriber's seed is %d", seed)
	return &lossSubscriber{run: r, open: map[uint16]bool{}, random: rand.New(rand.NewPCG(seed, 0))}
}

// prepare makes the session.
func (s *lossSubscriber) prepare() {
	c, err := dialLean(s.run.b.MQTT, "loss-subscriber", false)
	if err != nil {
		s.run.t.Fatal(err)
	}
	defer c.Close()
	c.packet(0x82, []byte{0, 1}, leanString("loss/#"), []byte{2})
	if err := c.out.Flush(); err != nil {
		s.run.t.Fatal(err)
	}
	if kind, body, err := c.next(); err != nil || kind != 0x90 || body[2] != 2 {
		s.run.t.Fatalf("subscribe: got %x %x, %v", kind, body, err)
	}
	s.known = true
}

// connection takes messages for a while. It is done when stop is.
func (s *lossSubscriber) connection(stop context.Context) (done bool) {
	c, err := dialLean(s.run.b.MQTT, "loss-subscriber", s.known)
	if err != nil {
		if errorIsSessionLost(err) {
			s.run.breach("subscriber: %v", err)
		}
		return stop.Err() != nil
	}
	defer c.Close()
	release := context.AfterFunc(stop, func() { c.Close() })
	defer release()
	for {
		for range 1 + s.random.IntN(int(min(s.run.each, 20_000))) {
			if err := s.take(c); err != nil {
				return stop.Err() != nil
			}
		}
		how := s.random.IntN(len(leaveNames))
		s.run.leaves[how]++
		switch how {
		case leaveGoodbye:
			c.packet(0xe0)
			c.out.Flush()
			return stop.Err() != nil
		case leaveDropped: // what waits in the buffer is never acknowledged
			return stop.Err() != nil
		}
		select { // the socket fills meanwhile
		case <-time.After(time.Duration(s.random.IntN(200)) * time.Millisecond):
		case <-stop.Done():
			return true
		}
	}
}

// take reads a packet and answers it.
func (s *lossSubscriber) take(c *lean) error {
	if c.in.Buffered() == 0 {
		if err := c.out.Flush(); err != nil {
			return err
		}
	}
	kind, body, err := c.next()
	if err != nil {
		return err
	}
	switch kind >> 4 {
	case 3:
		s.message(c, kind, body)
	case 6:
		delete(s.open, leanID(body))
		c.packet(0x70, body[:2])
	}
	return nil
}

// message judges a PUBLISH. One of QoS 2 whose identifier is open is the same again.
func (s *lossSubscriber) message(c *lean, kind byte, body []byte) {
	m := parseLean(kind, body)
	if m.qos == 1 {
		c.packet(0x40, m.id[:])
	} else {
		c.packet(0x50, m.id[:])
		id := leanID(m.id[:])
		if s.open[id] {
			return
		}
		s.open[id] = true
	}
	var publisher, qos int
	if _, err := fmt.Sscanf(string(m.topic), "loss/%d/%d", &publisher, &qos); err != nil || publisher >= lossPublishers || qos != int(m.qos) {
		s.run.breach("invented: topic %s with QoS %d", m.topic, m.qos)
		return
	}
	last := &s.last[publisher][qos]
	switch {
	case m.seq == *last+1:
		*last = m.seq
		s.run.progress.Add(1)
	case m.seq <= *last && qos == 1:
		s.run.again.Add(1)
	default:
		s.run.breach("topic %s: number %d came after %d", m.topic, m.seq, *last)
		*last = max(*last, m.seq)
	}
}
