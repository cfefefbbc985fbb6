package core_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
)

// history is the one checker of what a broker owes: it sees every publish,
// confirm, delivery and ack, and says what is wrong.
type history struct {
	test      *testing.T
	published int            // messages 0 … published-1 were sent
	owed      map[int]bool   // confirmed
	seen      map[int]bool   // delivered at least once
	acked     map[int]bool   // settled
	recent    map[int]bool   // acked since the last start: a crash may forget it
	mayReturn map[int]bool   // acked before a crash: may come again, flagged
	last      map[string]int // highest fresh delivery by key, since the last start
}

func (h *history) delivered(d *core.Delivery) int {
	h.test.Helper()
	n, err := strconv.Atoi(string(d.Message.Payload))
	if err != nil || n >= h.published {
		h.test.Fatalf("invented: %q", d.Message.Payload)
	}
	if h.seen[n] && !d.Redelivered {
		h.test.Fatalf("message %d came again without its flag", n)
	}
	if h.acked[n] && !h.mayReturn[n] {
		h.test.Fatalf("message %d came again after its ack was durable", n)
	}
	delete(h.mayReturn, n)
	delete(h.acked, n)
	if key := string(d.Message.Key) + string(d.Message.Properties); !d.Redelivered {
		if last, some := h.last[key]; some && n < last {
			h.test.Fatalf("message %d after %d", n, last)
		}
		h.last[key] = n
	}
	h.seen[n] = true
	return n
}

// missing tells which confirmed messages have not been settled.
func (h *history) missing() (all []int) {
	for n := range h.published {
		if h.owed[n] && !h.acked[n] {
			all = append(all, n)
		}
	}
	return all
}

// driver drives one stream of numbers through a broker.
type driver struct {
	*world
	*history
	rng   *rand.Rand
	topic bool           // an MQTT session, else a queue
	args  map[string]any // of the queue
	pub   *publisher
	cons  *core.Consumer
	sess  *core.Session
	next  receiver
	wake  chan struct{}
	held  []core.Delivery
	seqs  []int        // message by seq-1 of the present publisher
	weak  map[int]bool // sent without asking for durability
}

func (d *driver) connect() {
	d.pub, d.seqs, d.held = d.publisher(nil), nil, nil
	if d.topic {
		d.sess, d.wake, _ = d.session("dev", time.Hour, false)
		d.subscribe(d.sess, "t/#")
		d.next = d.sess
		return
	}
	d.declare("q", d.args)
	d.cons, d.wake = d.consume("q", core.NewLimit(uint32(1+d.rng.IntN(40))))
	d.next = d.cons
}

func (d *driver) publish() {
	for range 1 + d.rng.IntN(20) {
		body := strconv.Itoa(d.published)
		if d.topic {
			d.pub.send(mqtt("t/"+strconv.Itoa(d.rng.IntN(5)), body, 1))
		} else {
			m := amqp("", "q", body)
			if d.args != nil {
				m = prior("q", body, d.rng.IntN(7))
			}
			if d.rng.IntN(4) == 0 { // not persistent: may be in the log, or not
				m.QoS, d.weak[d.published] = 0, true
			}
			d.pub.send(m)
		}
		d.seqs = append(d.seqs, d.published)
		d.published++
	}
}

func (d *driver) confirms() {
	n, err := d.pub.p.Settled()
	d.must(err)
	for _, m := range d.seqs[:n] {
		if !d.weak[m] {
			d.owed[m] = true
		}
	}
}

func (d *driver) receive() {
	got, err := d.next.Next(nil, 1+d.rng.IntN(10))
	d.must(err)
	for i := range got {
		d.delivered(&got[i])
	}
	d.held = append(d.held, got...)
}

func (d *driver) settle() {
	d.rng.Shuffle(len(d.held), func(i, j int) { d.held[i], d.held[j] = d.held[j], d.held[i] })
	n := d.rng.IntN(len(d.held) + 1)
	for _, x := range d.held[:n] {
		if !d.topic && d.rng.IntN(10) == 0 {
			d.cons.Settle(core.Requeue, x.Position)
			continue
		}
		m, _ := strconv.Atoi(string(x.Message.Payload))
		d.acked[m] = true
		d.recent[m] = true
		if d.topic {
			d.sess.Settle(x.Position)
		} else {
			d.cons.Settle(core.Ack, x.Position)
		}
	}
	d.held = d.held[n:]
}

// restartSomehow stops cleanly, or crashes and keeps a random part of what was not synced.
func (d *driver) restartSomehow() {
	d.confirms()
	clean := d.rng.IntN(3) == 0
	var after *vfs.MemFS
	if !clean {
		d.store.SetAway(true) // nothing gets there that the broker did after the crash
		after = d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: d.rng.IntN(101), RNG: d.rng})
	}
	d.close() // a clean stop has written all acks
	d.store.SetAway(false)
	if !clean {
		d.fs = after
		maps.Copy(d.mayReturn, d.recent)
	}
	if d.rng.IntN(3) == 0 {
		d.loseIndex()
	}
	d.open()
	clear(d.recent)
	clear(d.last)
	// What was not confirmed may be gone: its numbers are not used again.
	d.connect()
}

// drain receives and settles until nothing confirmed is missing.
func (d *driver) drain() {
	d.pub.confirmed()
	d.confirms()
	deadline := time.After(time.Minute)
	for {
		d.drainHeld()
		if len(d.missing()) == 0 {
			return
		}
		got, err := d.next.Next(nil, 100)
		d.must(err)
		for i := range got {
			d.delivered(&got[i])
		}
		d.held = got
		if len(got) > 0 {
			continue
		}
		select {
		case <-d.wake:
		case <-deadline:
			d.t().Fatalf("confirmed and lost: %v", d.missing())
		}
	}
}

func (d *driver) drainHeld() {
	for _, x := range d.held {
		m, _ := strconv.Atoi(string(x.Message.Payload))
		d.acked[m] = true
		d.recent[m] = true
		if d.topic {
			d.sess.Settle(x.Position)
		} else {
			d.cons.Settle(core.Ack, x.Position)
		}
	}
	d.held = nil
}

func (d *driver) t() *testing.T { return d.world.t }

// TestRandomCrashes publishes, receives, settles and crashes at random, and
// asks the checker after each step.
func TestRandomCrashes(t *testing.T) {
	for _, topic := range []bool{false, true} {
		for seed := range uint64(60) {
			t.Run(fmt.Sprintf("topic=%v/seed=%d", topic, seed), func(t *testing.T) {
				w := newWorld(t, 1+int(seed%3))
				d := &driver{world: w, history: newHistory(t), rng: rand.New(rand.NewPCG(seed, 1)), topic: topic, weak: map[int]bool{}}
				d.drive()
			})
		}
	}
}

func newHistory(t *testing.T) *history {
	return &history{
		test: t, owed: map[int]bool{}, seen: map[int]bool{}, acked: map[int]bool{},
		recent: map[int]bool{}, mayReturn: map[int]bool{}, last: map[string]int{},
	}
}

func (d *driver) drive() {
	d.connect()
	for range 120 {
		switch d.rng.IntN(12) {
		case 0, 1, 2:
			d.publish()
		case 3, 4, 5, 6:
			d.receive()
		case 7, 8, 9:
			d.settle()
		case 10:
			d.confirms()
		default:
			d.restartSomehow()
		}
	}
	d.drain()
}

// TestRandomCrashesOfPriorities is TestRandomCrashes for a queue with priorities, each of
// which keeps its order.
func TestRandomCrashesOfPriorities(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := newWorldWith(t, 1+int(seed%3), ranked)
			d := &driver{
				world: w, history: newHistory(t), rng: rand.New(rand.NewPCG(seed, 2)), weak: map[int]bool{}, args: upTo(9),
			}
			d.drive()
		})
	}
}
