package core_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// ranked has a world take a digit that properties begin with for the priority.
func ranked(_ *core.Config, d *core.Deps) {
	digit := func(p []byte) (core.Properties, error) {
		if len(p) == 0 || p[0] < '0' || p[0] > '9' {
			return core.Properties{}, nil
		}
		return core.Properties{HasPriority: true, Priority: p[0] - '0'}, nil
	}
	d.Formats = map[core.Format]core.PropertyDecoder{core.FormatAMQP: digit, core.FormatMQTT: digit}
}

func rankedLetters(c *core.Config, d *core.Deps) {
	ranked(c, d)
	letters(c, d)
}

// upTo are the arguments of a queue with priorities.
func upTo(highest int) map[string]any { return map[string]any{"x-max-priority": int64(highest)} }

// prior is a message with a priority.
func prior(queue, body string, priority int) core.Message {
	m := amqp("", queue, body)
	m.Properties = fmt.Append(nil, priority)
	return m
}

// priors publishes "body/priority" to a queue, and waits for the confirms.
func (p *publisher) priors(queue string, all ...string) {
	p.w.t.Helper()
	for _, s := range all {
		p.send(prior(queue, s[:1], int(s[2]-'0')))
	}
	p.confirmed()
}

// bodiesOf takes and acks what is ready in a queue.
func (w *world) bodiesOf(queue string) (all []string) {
	w.t.Helper()
	for _, s := range w.drain(queue) {
		all = append(all, s[:1])
	}
	return all
}

func (w *world) mustHave(queue string, want ...string) {
	w.t.Helper()
	if n := w.ready(queue); n != uint64(len(want)) {
		w.t.Errorf("%d messages wait in %s, want %d", n, queue, len(want))
	}
	if got := w.bodiesOf(queue); !slices.Equal(got, want) {
		w.t.Errorf("%s has %v, want %v", queue, got, want)
	}
}

func eachRankedWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", n), func(t *testing.T) { fn(t, newWorldWith(t, n, ranked)) })
	}
}

func TestHighestPriorityFirst(t *testing.T) {
	ends := map[string]func(w *world){
		"": func(*world) {}, "restart": (*world).restart, "crash": (*world).crash, "no index": (*world).restartWithoutIndex,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			eachRankedWorld(t, func(_ *testing.T, w *world) {
				w.declare("q", upTo(5))
				w.declare("none", upTo(0))
				w.queue("plain")
				p := w.publisher(nil)
				for _, q := range []string{"q", "none", "plain"} {
					p.priors(q, "a/0", "b/1", "c/9", "d/5", "e/1")
					p.send(amqp("", q, "f"))
					p.confirmed()
				}
				end(w)
				p = w.publisher(nil)
				p.priors("q", "g/3", "h/5")
				w.mustHave("q", "c", "d", "h", "g", "b", "e", "a", "f")
				w.mustHave("none", "a", "b", "c", "d", "e", "f")
				w.mustHave("plain", "a", "b", "c", "d", "e", "f")
			})
		})
	}
}

// What a consumer has room for comes by priority, and what comes back has its place
// among those of its own.
func TestPrioritiesAndPrefetch(t *testing.T) {
	eachRankedWorld(t, func(t *testing.T, w *world) {
		w.declare("q", upTo(9))
		p := w.publisher(nil)
		p.priors("q", "1/2", "2/2", "3/2")
		c, wake := w.consume("q", core.NewLimit(2))
		got := w.take(c, wake, 2)
		want(t, got, "1", "2")
		p.priors("q", "4/7", "5/0")
		c.Settle(core.Ack, got[0].Position)
		want(t, w.take(c, wake, 1), "4")
		c.Settle(core.Requeue, got[1].Position)
		got = w.take(c, wake, 1)
		want(t, got, "2!")
		c.Settle(core.Discard, got[0].Position)
		want(t, w.take(c, wake, 1), "3")
		st, err := w.CheckQueue("/", "q", "")
		if w.must(err); st.Ready != 1 || st.Unsettled != 2 || st.Consumers != 1 {
			t.Errorf("the queue has %+v, want 1 ready, 2 unsettled and 1 consumer", st)
		}
		w.must(c.Cancel(t.Context()))
		w.mustHave("q", "5") // what it has is still its own
	})
}

func TestGetByPriority(t *testing.T) {
	eachRankedWorld(t, func(t *testing.T, w *world) {
		w.declare("q", upTo(9))
		w.publisher(nil).priors("q", "a/1", "b/8", "c/1")
		d, g, left, ok, err := w.Get(t.Context(), "/", "q", "", false)
		if w.must(err); !ok || string(d.Message.Payload) != "b" || left != 2 {
			t.Fatalf("got %q, %v and %d left, want b and 2 left", d.Message.Payload, ok, left)
		}
		g.Settle(core.Requeue, d.Position)
		d, g, _, _, err = w.Get(t.Context(), "/", "q", "", false)
		if w.must(err); !d.Redelivered || string(d.Message.Payload) != "b" {
			t.Fatalf("got %q, redelivered %v, want b again", d.Message.Payload, d.Redelivered)
		}
		g.Settle(core.Discard, d.Position)
		w.mustHave("q", "a", "c")
	})
}

// Purging and deleting a queue ends what it has of all priorities, for good.
func TestPrioritiesEndWithTheirQueue(t *testing.T) {
	eachRankedWorld(t, func(t *testing.T, w *world) {
		w.declare("q", upTo(9))
		p := w.publisher(nil)
		p.priors("q", "a/1", "b/8", "c/0")
		if n, err := w.PurgeQueue(t.Context(), "/", "q", ""); n != 3 || err != nil {
			t.Fatalf("purged %d, %v, want 3", n, err)
		}
		w.crash()
		w.mustHave("q")
		p = w.publisher(nil)
		p.priors("q", "a/1", "b/8")
		if _, err := w.DeleteQueue(t.Context(), "/", "q", "", false, true); !errors.Is(err, core.ErrNotEmpty) {
			t.Fatalf("deleted if empty: got %v, want %v", err, core.ErrNotEmpty)
		}
		if n, err := w.DeleteQueue(t.Context(), "/", "q", "", false, false); n != 2 || err != nil {
			t.Fatalf("deleted %d, %v, want 2", n, err)
		}
		w.declare("q", upTo(9))
		p.priors("q", "d/1")
		w.restartWithoutIndex()
		w.mustHave("q", "d")
	})
}

// Of a queue that is too long the oldest of the lowest priority go.
func TestPriorityQueueKeepsItsLength(t *testing.T) {
	for _, bound := range []string{"x-max-length", "x-max-length-bytes"} {
		t.Run(bound, func(t *testing.T) {
			w := newWorldWith(t, 1, rankedLetters)
			w.queue("d")
			w.declare("q", with(with(deadTo("", "d"), "x-max-priority", int64(9)), bound, int64(3)))
			p := w.publisher(nil)
			p.priors("q", "a/5", "b/1", "c/0", "d/1", "e/5", "f/5", "g/0")
			c, wake := w.consume("d")
			dropped := bodies(w.take(c, wake, 4))
			if slices.Sort(dropped); !slices.Equal(dropped, []string{"b", "c", "d", "g"}) {
				t.Errorf("dropped %v, want b, c, d and g", dropped)
			}
			if n := w.Stats().Overflowed; n != 4 {
				t.Errorf("%d messages were dropped, want 4", n)
			}
			w.crash()
			w.mustHave("q", "a", "e", "f")
		})
	}
}

// The messages of all priorities together fill a queue.
func TestFullPriorityQueueRefuses(t *testing.T) {
	w := newWorldWith(t, 1, ranked)
	w.declare("q", with(rejecting(3), "x-max-priority", int64(9)))
	p := w.publisher(nil)
	p.priors("q", "a/1", "b/8")
	tx := p.p.Begin()
	for _, priority := range []int{2, 5} {
		m := prior("q", "x", priority)
		_, err := tx.Publish(&m)
		w.must(err)
	}
	if err := tx.Commit(); !errors.Is(err, core.ErrFull) {
		t.Fatalf("two more in a transaction: got %v, want %v", err, core.ErrFull)
	}
	p.priors("q", "c/0")
	m := prior("q", "d", 9)
	if _, err := p.p.Publish(&m); !errors.Is(err, core.ErrFull) {
		t.Fatalf("one more: got %v, want %v", err, core.ErrFull)
	}
	w.mustHave("q", "b", "a", "c")
}

// A transaction finds the priorities that it is the first to use, in whatever shard,
// also when all that was not synced is lost right after it.
func TestTransactionsWithPriorities(t *testing.T) {
	for _, shards := range []int{1, 3} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("shards=%d/index_lost=%v", shards, lost), func(t *testing.T) {
				w := newWorldWith(t, shards, ranked)
				p := w.publisher(nil)
				for _, q := range txQueues {
					w.declare(q, upTo(9))
					p.priors(q, "a/1", "b/8", "c/8")
				}
				tx := p.p.Begin()
				for _, q := range txQueues {
					c, wake := w.consume(q, core.NewLimit(3))
					held := w.take(c, wake, 3)
					w.must(tx.Settle(c, core.Ack, held[2].Position, held[0].Position)) // a and b
					for _, m := range []core.Message{prior(q, "d", 4), prior(q, "e", 0), prior(q, "f", 9)} {
						_, err := tx.Publish(&m)
						w.must(err)
					}
				}
				w.must(tx.Commit())
				w.crash()
				if lost {
					w.restartWithoutIndex()
				}
				for _, q := range txQueues {
					w.mustHave(q, "f", "c", "d", "e")
				}
			})
		}
	}
}

// Messages end at their deadlines, whatever is above or below them.
func TestPrioritiesAndTimesToLive(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("index_lost=%v", lost), func(t *testing.T) {
			now := &aged{Clock: clock.System}
			w := newWorldWith(t, 1, func(c *core.Config, d *core.Deps) { ranked(c, d); d.Clock = now })
			w.declare("q", with(upTo(9), "x-message-ttl", time.Hour.Milliseconds()))
			p := w.publisher(nil)
			p.priors("q", "a/1", "b/8", "c/0")
			for i, body := range []string{"d", "e", "f"} {
				m := prior("q", body, 4*i)
				m.ExpireAt = now.Now().Add(time.Minute).UnixMilli()
				p.send(m)
			}
			p.confirmed()
			c, wake := w.consume("q", core.NewLimit(3))
			got := w.take(c, wake, 3)
			want(t, got, "b", "f", "e")
			now.move(2 * time.Minute)
			c.Settle(core.Requeue, got[0].Position, got[1].Position)
			want(t, w.take(c, wake, 2), "b!", "a")
			w.crash()
			if lost {
				w.restartWithoutIndex()
			}
			w.mustHave("q", "b", "a", "c")
		})
	}
}

// Rejected messages become dead letters, whose priority is their own again.
func TestDeadLettersWithPriorities(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			w := newWorldWith(t, shards, func(c *core.Config, d *core.Deps) {
				ranked(c, d)
				d.DeadLetter = func(_ *core.Broker, death *core.Death) (core.DeadLetter, error) {
					return core.DeadLetter{Key: death.Message.Key, Properties: death.Message.Properties}, nil
				}
			})
			w.declare("d", upTo(9))
			w.declare("q", with(deadTo("", "d"), "x-max-priority", int64(9)))
			w.publisher(nil).priors("q", "a/1", "b/8", "c/0", "d/8")
			c, wake := w.consume("q", core.NewLimit(4))
			got := w.take(c, wake, 4)
			want(t, got, "b", "d", "a", "c")
			watch, came := w.consume("d", core.NewLimit(4))
			for _, i := range []int{3, 0, 2} { // c, b, a
				c.Settle(core.Discard, got[i].Position)
			}
			w.take(watch, came, 3)
			w.crash()
			w.mustHave("d", "b", "a", "c")
			w.mustHave("q", "d")
		})
	}
}

// Who declares the queue again asks for the same priorities.
func TestHighestPriorityIsPartOfTheDeclaration(t *testing.T) {
	w := newWorldWith(t, 1, ranked)
	w.declare("q", upTo(9))
	_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "q", Durable: true, Args: upTo(8)})
	if !errors.Is(err, core.ErrInequivalent) {
		t.Fatalf("got %v, want %v", err, core.ErrInequivalent)
	}
	w.declare("q", upTo(9))
}

// What is settled of each priority is published, and removed with the queue.
func TestOffsetsOfPriorities(t *testing.T) {
	j := &jumps{Clock: clock.System, interval: time.Second + 1, rounds: make(chan time.Time)}
	w := newWorldWith(t, 1, func(c *core.Config, d *core.Deps) {
		calm(c, d)
		ranked(c, d)
		c.OffsetInterval, d.Clock = j.interval, j
	})
	w.declare("q", upTo(9))
	w.publisher(nil).priors("q", "a/1", "b/8", "c/0")
	w.mustHave("q", "b", "a", "c")
	published := func(want int) {
		t.Helper()
		j.round() // the end of it is behind the begin of the next
		j.round()
		offsets, err := w.cat.Offsets(t.Context())
		w.must(err)
		if len(offsets) != want {
			t.Errorf("%d cursors are published, want %d: %+v", len(offsets), want, offsets)
		}
	}
	published(3)
	_, err := w.DeleteQueue(t.Context(), "/", "q", "", false, false)
	w.must(err)
	published(0)
}

func TestPrioritiesOfAnotherProtocol(t *testing.T) {
	w := newWorldWith(t, 1, ranked)
	w.declare("q", upTo(5))
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "t"}))
	p := w.publisher(nil)
	for i, body := range []string{"a", "b", "c"} {
		m := mqtt("t", body, 1)
		m.Properties = fmt.Append(nil, i)
		p.send(m)
	}
	p.confirmed()
	w.mustHave("q", "c", "b", "a")
}

// A queue with priorities that nobody uses ends with what it has of all of them.
func TestUnusedPriorityQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, func(c *core.Config, d *core.Deps) { calm(c, d); ranked(c, d) })
		args := with(upTo(9), "x-expires", int64(1000))
		w.declare("q", args)
		p := w.publisher(nil)
		p.priors("q", "a/1", "b/8", "c/0")
		elapse(999 * time.Millisecond)
		if w.mustHave("q", "b", "a", "c"); !w.there("q") {
			t.Fatal("the queue ended although it was used")
		}
		p.priors("q", "d/8")
		elapse(2 * time.Second)
		if w.there("q") {
			t.Fatal("the queue is there after its term")
		}
		w.declare("q", args)
		p.priors("q", "e/8", "f/0")
		w.mustHave("q", "e", "f")
	})
}

// What a full queue with priorities refuses becomes a dead letter, whatever its
// priority, and what it has stays.
func TestFullPriorityQueueSpills(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			w := newWorldWith(t, shards, rankedLetters)
			w.queue("d")
			w.declare("q", with(spilling(2, "", "d"), "x-max-priority", int64(9)))
			p := w.publisher(nil)
			p.priors("q", "a/1", "b/8")
			for i, body := range []string{"c", "d", "e"} {
				m := prior("q", body, 4*i) // 0, 4 and 8
				got, err := p.p.Publish(&m)
				if !errors.Is(err, core.ErrFull) {
					t.Fatalf("%s to the full queue: got %v, want %v", body, err, core.ErrFull)
				}
				p.n = got.Seq
			}
			p.confirmed()
			w.crash()
			w.mustHave("d", "c", "d", "e")
			w.mustHave("q", "b", "a")
		})
	}
}
