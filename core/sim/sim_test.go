package sim_test

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	oneSeed = flag.Uint64("seed", 0, "simulate this seed alone and print what happens")
	first   = flag.Uint64("first", 1, "the first of many seeds")
	steps   = flag.Int("steps", 200, "how many steps a seed has")
)

// simulate runs a seed to its end.
func simulate(seed uint64, steps int) *world {
	w := newWorld(seed)
	w.newClients()
	w.start()
	for _, q := range w.clients.all() {
		w.declare(q)
	}
	for _, s := range w.clients.sessions {
		w.openSession(s)
		w.subscribe(s)
	}
	for i := 0; i < steps && len(w.wrong) == 0; i++ {
		w.act()
		w.overflows()
		w.work(w.rng.IntN(6))
		if w.rng.IntN(3) == 0 && (!w.lazy || w.rng.IntN(8) == 0) {
			w.clock.advance(time.Duration(1+w.rng.IntN(40)) * time.Millisecond)
		}
		if w.sched.stuck {
			w.complain("something waits for ever")
		}
		if len(w.wrong) == 0 && (w.down || w.Err() != nil) {
			w.restart()
		}
	}
	if len(w.wrong) == 0 {
		w.drain()
	}
	if w.Broker != nil {
		w.cut(true)
		w.abandon()
	}
	return w
}

// act does one thing that clients do, or that happens to the broker.
func (w *world) act() {
	c := &w.clients
	q := c.queues[w.rng.IntN(len(c.queues))]
	s := c.sessions[w.rng.IntN(len(c.sessions))]
	p := c.publishers[w.rng.IntN(len(c.publishers))]
	if w.lazy && w.rng.IntN(30) > 0 {
		w.actLazily()
		return
	}
	if w.rng.IntN(100) < w.trouble {
		w.happen()
		return
	}
	if w.rng.IntN(100) < w.transact {
		w.useTransaction(c.changers[w.rng.IntN(len(c.changers))])
		return
	}
	switch n := w.rng.IntN(100); {
	case n == 0 && w.rng.IntN(8) == 0:
		w.flood(c.publishers[w.rng.IntN(2)], q)
	case n < 23:
		w.publishSome()
	case n < 25:
		w.retain(c.publishers[2])
	case n < 33:
		w.confirms(p)
	case n < 34+w.mqtt*60/100:
		w.useSession(s)
	case n < 94 && w.rng.IntN(3) == 0:
		w.useStream(c.streams[w.rng.IntN(len(c.streams))])
	case n < 94:
		w.useQueue(q)
	case n < 97:
		w.declare(q)
	default:
		w.rest()
	}
}

// actLazily has sessions get messages and keep where these are.
func (w *world) actLazily() {
	s := w.clients.sessions[w.rng.IntN(2)]
	switch n := w.rng.IntN(30); {
	case n == 0:
		w.cut(false)
	case n < 12:
		w.publishToTopic(w.clients.publishers[2])
	case s.h == nil && w.rng.IntN(4) > 0:
	case n < 18:
		w.receiveSession(s, 1+w.rng.IntN(4))
	case n < 28:
		w.keepSome(s)
	default:
		w.useSession(s)
	}
}

// publishSome publishes a few messages from one publisher.
func (w *world) publishSome() {
	topics, i := w.rng.IntN(100) < w.mqtt, w.rng.IntN(2)
	for range 1 + w.rng.IntN(5) {
		if topics {
			w.publishToTopic(w.clients.publishers[2])
		} else {
			w.publishToQueues(w.clients.publishers[i])
		}
	}
}

func (w *world) useQueue(q *queue) {
	w.lapse(q)
	if q.spec.Name == late && w.rng.IntN(8) == 0 {
		w.remove(q)
		return
	}
	if len(q.consumers) == 0 {
		if w.rng.IntN(4) == 0 {
			w.get(q)
			return
		}
		w.consume(q)
		return
	}
	c := q.consumers[w.rng.IntN(len(q.consumers))]
	switch n := w.rng.IntN(100); {
	case n < 45:
		w.receive(c, 1+w.rng.IntN(10))
	case n < 85:
		w.settleSome(c, false)
	case n < 88:
		w.consume(q)
	case n < 95:
		w.cancel(c)
	case n < 97:
		w.purge(q)
	case n < 98:
		w.remove(q)
	default:
		c.limit.Set(uint32(w.rng.IntN(12)))
		c.c.Kick()
	}
}

func (w *world) useSession(s *session) {
	if s.h == nil {
		w.openSession(s)
		return
	}
	switch n := w.rng.IntN(100); {
	case n < 35:
		w.receiveSession(s, 1+w.rng.IntN(10))
	case n < 55:
		w.settleSession(s, false)
	case n < 67:
		w.keepSome(s)
	case n < 75:
		w.subscribe(s)
	case n < 77:
		w.unsubscribe(s)
	case n < 80:
		w.closeSession(s)
	case s.expiry == 0:
		w.receiveSession(s, 1+w.rng.IntN(10))
	case n < 90:
		w.publishOnce(s)
	default:
		w.onceSome(s)
	}
}

// happen is what happens to the broker.
func (w *world) happen() {
	switch w.rng.IntN(6) {
	case 0, 1:
		w.restart()
	case 2, 3:
		w.chooseFault(60)
	case 4:
		w.setAway(!w.store.away)
		w.log("metadata store away: %t", w.store.away)
	default:
		jump := time.Duration(1+w.rng.IntN(7200)) * time.Second
		w.log("the clock jumps by %v", jump)
		w.clock.advance(jump)
		w.jumped = w.jumped || jump > ahead
		for _, s := range w.clients.sessions {
			if s.h == nil && s.dest != nil {
				s.doubt = true
				s.dest.loosen()
			}
		}
	}
}

// drain has the clients take all there is, and asks what is missing; then that
// nothing comes again after a clean restart.
func (w *world) drain() {
	w.log("drain")
	w.setAway(false)
	w.disk.capacity += 64 << 20
	for _, x := range w.clients.changers {
		w.commit(x)
	}
	w.calm()
	for _, q := range w.clients.queues {
		w.declare(q)
	}
	if w.rotten { // also by a restart of calm
		w.restore()
	}
	w.takeAll()
	w.unhurried()
	if len(w.wrong) > 0 {
		return
	}
	w.resolveChanges()
	w.missingStreams()
	w.missing()
	if len(w.wrong) > 0 || !w.stop() {
		return
	}
	w.over(true, nothing)
	w.clients.ended()
	w.start()
	w.calm()
	if len(w.wrong) == 0 {
		w.reconnect()
		w.takeAll()
	}
}

// unhurried has the clients wait for what the broker tries again from time to time.
func (w *world) unhurried() {
	for range 3 {
		w.clock.advance(time.Second)
		w.rest()
		w.takeAll()
	}
}

// calm has the broker go on without faults. A start that one was to befall may
// have left it to come, or the broker with what it has broken.
func (w *world) calm() {
	w.fault = fault{}
	for len(w.wrong) == 0 && (w.down || w.faulty || w.Err() != nil) {
		w.restart()
		w.fault = fault{}
	}
}

// maxRounds is far more rounds than it takes the clients to get all there is.
const maxRounds = 1000

func (w *world) takeAll() {
	for rounds := 0; (rounds == 0 || w.someAwake()) && len(w.wrong) == 0; rounds++ {
		if rounds > maxRounds {
			w.complain("the clients never get all there is")
		}
		for _, q := range w.clients.all() {
			w.lapse(q)
			if len(q.consumers) == 0 {
				w.consume(q)
			}
			for _, c := range q.consumers {
				if !c.unlimited { // once: what comes later must wake it by itself
					c.unlimited = true
					c.limit.Set(0)
					c.c.Kick()
				}
				w.settleSome(c, true)
				w.receive(c, 100)
				w.settleSome(c, true)
			}
		}
		for _, s := range w.clients.sessions {
			w.openSession(s)
			w.receiveSession(s, 100)
			w.settleSession(s, true)
			w.finishPackets(s)
		}
		w.rest() // what was attached is marked in the log, then wakes who waits
		for _, p := range w.clients.publishers {
			w.confirms(p)
		}
		if w.sched.stuck {
			w.complain("something waits for ever")
		}
	}
}

// someAwake tells whether a client has reason to ask for more.
func (w *world) someAwake() bool {
	for _, q := range w.clients.all() {
		if slices.ContainsFunc(q.consumers, func(c *consumer) bool { return c.awake }) {
			return true
		}
	}
	return slices.ContainsFunc(w.clients.sessions, func(s *session) bool { return s.h == nil || s.awake })
}

// seeds is how many seeds a test simulates.
func seeds(t *testing.T) uint64 {
	t.Helper()
	if v := os.Getenv("TIDEGATE_SIM_SEEDS"); v != "" {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			t.Fatalf("TIDEGATE_SIM_SEEDS: %v", err)
		}
		return n
	}
	return 200
}

func TestSim(t *testing.T) {
	if *oneSeed != 0 {
		w := simulate(*oneSeed, *steps)
		for n := range *steps { // the fewest steps that fail tell the shortest story
			if less := simulate(*oneSeed, n); len(w.wrong) > 0 && len(less.wrong) > 0 {
				w = less
				t.Logf("fails after %d steps", n)
				break
			}
		}
		t.Logf("%s\nhash %x", w.story(), w.sum())
		for _, wrong := range w.wrong {
			t.Error(wrong)
		}
		return
	}
	var next, failed atomic.Uint64
	last := seeds(t)
	begin := time.Now()
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				seed := *first + next.Add(1) - 1
				if seed >= *first+last || failed.Load() > 9 {
					return
				}
				if w := simulate(seed, *steps); len(w.wrong) > 0 {
					failed.Add(1)
					t.Errorf("seed %d: %s\nreplay: go test ./core/sim -run Sim -seed %d", seed, w.wrong[0], seed)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	ran := min(next.Load(), last)
	t.Logf("%d seeds in %v, %.0f/s", ran, took.Round(time.Millisecond), float64(ran)/took.Seconds())
}

// TestSimReplays runs seeds twice, and asks for the same story and the same
// bytes on the disk.
func TestSimReplays(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			a, b := simulate(seed, *steps), simulate(seed, *steps)
			if a.sum() == b.sum() && a.story() == b.story() {
				return
			}
			for i, line := range a.trace.lines {
				if i >= len(b.trace.lines) || line != b.trace.lines[i] {
					t.Fatalf("stories differ in line %d:\n%s\n%s", i, line, b.trace.lines[min(i, len(b.trace.lines)-1)])
				}
			}
			t.Fatal("the stories are the same, and what the disk was asked is not")
		})
	}
}
