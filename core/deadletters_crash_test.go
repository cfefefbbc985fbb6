package core_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// dying is a way in which the five messages 0 to 4 of the queue q die.
type dying struct {
	args map[string]any // of q
	life time.Duration  // of the messages
	// die gets ready and returns what begins it; that is false if the crash has come
	// before.
	die func(w *world) func() bool
	// again tells that they die again after a crash that came before the move; else
	// they come again.
	again bool
	// ranked gives the messages priorities.
	ranked bool
}

var waysToDie = map[string]dying{
	"rejected": {die: func(w *world) func() bool {
		c, wake := w.consume("q")
		held := w.take(c, wake, 5)
		return func() bool {
			for _, d := range held {
				c.Settle(core.Discard, d.Position)
			}
			return true
		}
	}},
	"rejected, with priorities": {ranked: true, args: upTo(3), die: func(w *world) func() bool {
		c, wake := w.consume("q")
		held := w.take(c, wake, 5)
		return func() bool {
			for _, d := range held {
				c.Settle(core.Discard, d.Position)
			}
			return true
		}
	}},
	"aged, with priorities":   {ranked: true, args: with(upTo(3), "x-message-ttl", int64(20)), again: true, die: byThemselves},
	"maxlen, with priorities": {ranked: true, args: upTo(3), again: true, die: tooLong},
	"expired":                 {life: 20 * time.Millisecond, again: true, die: byThemselves},
	"aged":                    {args: map[string]any{"x-message-ttl": int64(20)}, again: true, die: byThemselves},
	"maxlen":                  {again: true, die: tooLong},
	"maxbytes": {again: true, die: func(w *world) func() bool {
		return func() bool { return w.empty("max-length-bytes") }
	}},
}

func tooLong(w *world) func() bool { return func() bool { return w.empty("max-length") } }

func byThemselves(*world) func() bool { return func() bool { return true } }

// empty has a policy bound the queue q to nothing; false when the metadata is away.
func (w *world) empty(setting string) bool {
	err := w.cat.PutPolicy(w.t.Context(), metadata.Policy{
		Namespace: "/", Name: "short", Pattern: "^q$", Definition: map[string]any{setting: int64(0)},
	})
	if errors.Is(err, metadata.ErrUnavailable) {
		return false
	}
	w.must(err)
	return true
}

// TestDeadLettersAreMovedOnce ends the process before each step on the disk of the
// moves of five messages, with none, some and all of what was not synced kept: each
// message is in its queue or where it went, and comes unmarked once.
func TestDeadLettersAreMovedOnce(t *testing.T) {
	for name, way := range waysToDie {
		for _, shards := range []int{1, 3} {
			for _, kept := range []int{0, 50, 100} {
				t.Run(fmt.Sprintf("%s/shards=%d/kept=%d", name, shards, kept), func(t *testing.T) {
					for step := 0; ; step++ {
						if moveAndCrashAt(t, way, shards, step, kept) == notReached {
							break
						}
					}
				})
			}
		}
	}
}

// moveAndCrashAt has the messages die, a crash at a step of what follows, and looks
// at what is left.
func moveAndCrashAt(t *testing.T, way dying, shards, step, kept int) (reached int) {
	t.Helper()
	w := newWorldWith(t, shards, func(c *core.Config, d *core.Deps) {
		calmLetters(c, d)
		ranked(c, d)
	})
	w.queue("d") // in another shard than q, where there are three
	args := deadTo("", "d")
	maps.Copy(args, way.args)
	w.declare("q", args)
	p := w.publisher(nil)
	for i := range 5 {
		m := amqp("", "q", strconv.Itoa(i))
		if way.ranked {
			m.Properties = strconv.AppendInt(nil, int64(i), 10)
		}
		if way.life > 0 {
			m.ExpireAt = time.Now().Add(way.life).UnixMilli()
		}
		p.send(m)
	}
	p.confirmed()
	die := way.die(w)
	reached = w.crashDuring(step, kept, func() {
		if die() {
			c, wake := w.consume("d")
			w.take(c, wake, 5)
		}
	})
	if way.again && !way.die(w)() {
		t.Fatal("the metadata is away after a start")
	}
	w.onceEach(step, way.again)
	return reached
}

// onceEach looks that each of five messages is there once: as a dead letter, or,
// unless they die again, still in its queue and marked.
func (w *world) onceEach(step int, again bool) {
	w.t.Helper()
	var all []string
	if again {
		all = w.letters("d", 5)
	} else {
		all = w.drain("d")
		for _, s := range w.drain("q") {
			if !strings.HasPrefix(s[1:], "!") {
				w.t.Errorf("crash at step %d: %s comes again and is not marked", step, s)
			}
			all = append(all, s)
		}
	}
	var bodies []string
	for _, s := range all {
		bodies = append(bodies, s[:1])
	}
	slices.Sort(bodies)
	if !slices.Equal(bodies, []string{"0", "1", "2", "3", "4"}) {
		w.t.Fatalf("crash at step %d: got %v, want each message once", step, all)
	}
	if left := append(w.drain("d"), w.drain("q")...); len(left) > 0 {
		w.t.Fatalf("crash at step %d: %v are there once more", step, left)
	}
}

// TestDeadLettersGoRound has one message rejected from queue to queue, with crashes
// in between: there is always exactly one.
func TestDeadLettersGoRound(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		for i, q := range txQueues {
			w.declare(q, deadTo("", txQueues[(i+1)%len(txQueues)]))
		}
		p := w.publisher(nil)
		p.send(amqp("", txQueues[0], "token"))
		p.confirmed()
		for i := range 40 {
			c, wake := w.consume(txQueues[i%len(txQueues)])
			d := w.take(c, wake, 1)
			c.Settle(core.Discard, d[0].Position)
			w.must(c.Cancel(t.Context()))
			next, wake := w.consume(txQueues[(i+1)%len(txQueues)])
			w.take(next, wake, 1)
			switch w.rng.IntN(6) {
			case 0:
				w.crash()
			case 1:
				w.restartWithoutIndex()
			default:
				w.must(next.Cancel(t.Context()))
				w.restart()
			}
		}
	})
}

// TestManyDeadLettersShareSyncs has very many messages die at once: they are moved in
// few batches.
func TestManyDeadLettersShareSyncs(t *testing.T) {
	const n = 20_000
	w := newWorldWith(t, 1, calmLetters)
	w.queue("d")
	w.declare("q", deadTo("", "d"))
	w.publisher(nil).numbers("q", 1, n)
	before := w.Stats()
	c, wake := w.consume("d", core.NewLimit(0))
	if !w.empty("max-length") {
		t.Fatal("the metadata is away")
	}
	w.take(c, wake, n)
	after := w.Stats()
	if syncs := after.Syncs - before.Syncs; syncs > 3*n/1024+50 {
		t.Errorf("%d syncs for %d dead letters", syncs, n)
	}
}
