package core_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// rejecting are the arguments of a queue that refuses what is too much.
func rejecting(length int64) map[string]any {
	return map[string]any{"x-max-length": length, "x-overflow": "reject-publish"}
}

// refusals publishes bodies to a queue, and returns those that it did not take. It
// checks that the same is told of their numbers.
func (p *publisher) refusals(queue string, bodies ...string) (none []string) {
	p.w.t.Helper()
	var numbers []uint64
	for _, body := range bodies {
		m := amqp("", queue, body)
		got, err := p.p.Publish(&m)
		p.n = got.Seq
		if errors.Is(err, core.ErrFull) {
			none, numbers, err = append(none, body), append(numbers, got.Seq), nil
		}
		if p.w.must(err); !got.Routed {
			p.w.t.Errorf("%s matched nothing", body)
		}
	}
	p.confirmed()
	var told []uint64
	for _, r := range p.p.Refused(nil, p.n) {
		for n := r[0]; n <= r[1]; n++ {
			told = append(told, n)
		}
	}
	if !slices.Equal(told, numbers) {
		p.w.t.Errorf("told that %v were refused, want %v", told, numbers)
	}
	return none
}

func (w *world) mustRefuse(got []string, want ...string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Errorf("refused %v, want %v", got, want)
	}
}

// A full queue takes nothing more until something of it is taken, also after a crash
// and a loss of the index.
func TestFullQueueRefuses(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("index_lost=%v", lost), func(t *testing.T) {
			w := newWorld(t, 1)
			w.declare("q", rejecting(3))
			p := w.publisher(nil)
			w.mustRefuse(p.refusals("q", "1", "2", "3", "4", "5"), "4", "5")
			if w.crash(); lost {
				w.restartWithoutIndex()
			}
			p = w.publisher(nil)
			w.mustRefuse(p.refusals("q", "6"), "6")
			c, wake := w.consume("q", core.NewLimit(1))
			got := w.take(c, wake, 1)
			w.mustRefuse(p.refusals("q", "7", "8"), "8") // 1 is in flight
			c.Settle(core.Requeue, got[0].Position)      // 4 wait or fly now, and none is dropped
			w.must(c.Cancel(t.Context()))
			w.mustRefuse(p.refusals("q", "9"), "9")
			c, wake = w.consume("q")
			if got := w.take(c, wake, 4); !slices.Equal(bodies(got), []string{"1!", "2", "3", "7"}) {
				t.Errorf("got %v", bodies(got))
			}
			if n := w.Stats().Refused; n == 0 {
				t.Error("nothing is counted as refused")
			}
		})
	}
}

// The bodies count too, and the other queues of a message get it.
func TestFullQueueRefusesForItselfAlone(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		w.declare("small", map[string]any{"x-max-length-bytes": int64(5), "x-overflow": "reject-publish"})
		w.queue("large")
		for _, q := range []string{"small", "large"} {
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
		}
		p := w.publisher(nil)
		full := 0
		for _, body := range []string{"abc", "def", "de", "f"} {
			m := amqp("amq.fanout", "", body)
			got, err := p.p.Publish(&m)
			p.n = got.Seq
			if errors.Is(err, core.ErrFull) {
				full, err = full+1, nil
			}
			w.must(err)
		}
		p.confirmed()
		c, wake := w.consume("small")
		want(t, w.take(c, wake, 2), "abc", "de")
		c, wake = w.consume("large")
		want(t, w.take(c, wake, 4), "abc", "def", "de", "f")
		if full != 2 {
			t.Errorf("%d publishes were refused, want 2", full)
		}
	})
}

// A queue never has more than it may, however many publish to it at once, and none
// less than that. Who has a consumer with room is never full.
func TestBurstIntoAFullQueue(t *testing.T) {
	w := newWorld(t, 1)
	w.declare("q", rejecting(20))
	w.declare("flowing", rejecting(1))
	var taken sync.Map
	c, wake := w.consume("flowing")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			p := w.publisher(nil)
			for j := range 30 {
				m := amqp("", "q", strconv.Itoa(100*i+j))
				if _, err := p.p.Publish(&m); err == nil {
					taken.Store(100*i+j, true)
				} else if !errors.Is(err, core.ErrFull) {
					t.Error(err)
				}
			}
		})
	}
	p := w.publisher(nil)
	var some []string
	for i := range 200 {
		some = append(some, strconv.Itoa(i))
	}
	w.mustRefuse(p.refusals("flowing", some...))
	w.take(c, wake, 200)
	all.Wait()
	n := 0
	taken.Range(func(any, any) bool { n++; return true })
	if n != 20 {
		t.Errorf("%d publishes were taken, want 20", n)
	}
	p.numbers("flowing", 0, 0) // behind all of them
	if n := w.ready("q"); n != 20 {
		t.Errorf("%d messages wait, want 20", n)
	}
}

// A transaction with a message that a queue refuses has no effect, in no shard.
func TestFullQueueRefusesTransactions(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			w := newWorldWith(t, shards, calm)
			for _, q := range txQueues {
				w.declare(q, rejecting(2))
			}
			p := w.publisher(nil)
			commit := func(body string, queues ...string) error {
				t.Helper()
				tx := p.p.Begin()
				for _, q := range queues {
					m := amqp("", q, body)
					_, err := tx.Publish(&m)
					w.must(err)
				}
				return tx.Commit()
			}
			w.must(commit("1", txQueues...))
			if err := commit("2", "a", "b", "c", "d", "e", "a"); !errors.Is(err, core.ErrFull) {
				t.Errorf("two messages for a queue with room for one: got %v, want %v", err, core.ErrFull)
			}
			want := all("1")
			if got := w.everything(); !slices.Equal(got, want) {
				t.Errorf("after a refused commit: got %v, want %v", got, want)
			}
			w.must(commit("3", txQueues...)) // the room is free again
			for _, q := range txQueues {
				w.mustRefuse(p.refusals(q, "4"), "4")
			}
			want = append(want, all("3")...)
			slices.Sort(want)
			if got := w.everything(); !slices.Equal(got, want) {
				t.Errorf("after the commits: got %v, want %v", got, want)
			}
		})
	}
}

// A policy says it for queues that do not themselves.
func TestPolicyOfOverflow(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	w.declare("own", map[string]any{"x-overflow": "drop-head"})
	w.govern("p", map[string]any{"max-length": int64(2), "overflow": "reject-publish"})
	p := w.publisher(nil)
	w.mustRefuse(p.refusals("q", "1", "2", "3"), "3")
	w.mustRefuse(p.refusals("own", "1", "2", "3"))
	w.declare("own", nil) // the same
	w.declare("q", map[string]any{"x-overflow": "drop-head"})
	w.restart()
	p = w.publisher(nil)
	w.mustRefuse(p.refusals("q", "4"), "4")
	w.ungovern("p")
	w.mustRefuse(p.refusals("q", "5"))
	if q, own := w.ready("q"), w.ready("own"); q != 3 || own != 2 {
		t.Errorf("%d and %d messages wait, want 3 and 2", q, own)
	}
}
