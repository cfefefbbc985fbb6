package core_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/core"
)

// spilling are the arguments of a queue that makes dead letters of what it refuses.
func spilling(length int64, exchange, key string) map[string]any {
	return with(with(deadTo(exchange, key), "x-max-length", length), "x-overflow", "reject-publish-dlx")
}

// What a full queue refuses is told of, and is a dead letter when it is.
func TestFullQueueSpills(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.queue("d")
		w.declare("q", spilling(2, "", "d"))
		w.declare("nowhere", spilling(0, "missing", "k"))
		w.declare("without", map[string]any{"x-max-length": int64(0), "x-overflow": "reject-publish-dlx"})
		p := w.publisher(nil)
		w.mustRefuse(p.refusals("q", "1", "2", "3", "4"), "3", "4")
		w.mustRefuse(p.refusals("nowhere", "5"), "5")
		w.mustRefuse(p.refusals("without", "6"), "6")
		w.crash()
		wantLetters(t, w.drain("d"), "3 maxlen@q", "4 maxlen@q")
		wantLetters(t, w.drain("q"), "1", "2")
	})
}

// A refused message goes on through queues that are full too, but never twice through
// one; and others of its queues get it.
func TestFullQueuesSpillInTurn(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		for _, q := range []string{"a", "b", "c"} {
			w.declare(q, spilling(0, "amq.fanout", ""))
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
		}
		w.queue("d")
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "d"}))
		w.declare("self", spilling(0, "", "self"))
		p := w.publisher(nil)
		w.mustRefuse(p.refusals("self", "1"), "1")
		w.mustRefuse(p.refusals("a", "2"), "2")
		got := w.drain("d")
		slices.Sort(got)
		wantLetters(t, got,
			"2 maxlen@a",
			"2 maxlen@b maxlen@a", "2 maxlen@b maxlen@c maxlen@a",
			"2 maxlen@c maxlen@a", "2 maxlen@c maxlen@b maxlen@a")
		if n := w.ready("self"); n != 0 {
			t.Errorf("%d messages wait where none may", n)
		}
	})
}

// However many full queues lead to each other, what comes of one message is bounded.
func TestSpillingIsBounded(t *testing.T) {
	w := newWorldWith(t, 1, letters)
	w.queue("d")
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "d"}))
	for i := range 12 { // without a bound there would be millions
		q := fmt.Sprint("q", i)
		w.declare(q, spilling(0, "amq.fanout", ""))
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
	}
	w.mustRefuse(w.publisher(nil).refusals("q0", "1"), "1")
	if n := w.ready("d"); n != 32 {
		t.Errorf("%d dead letters of one message, want 32", n)
	}
}

// Dead letters go to a queue that refuses what is too much as long as it has room, and
// on from there when it makes dead letters of the others.
func TestDeadLettersForFullQueues(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.declare("small", rejecting(3))
		w.declare("spills", spilling(4, "", "rest"))
		w.queue("rest")
		w.declare("q", with(deadTo("amq.fanout", ""), "x-max-length", int64(0)))
		w.declare("source", deadTo("", "spills"))
		for _, q := range []string{"small", "rest"} {
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
		}
		p := w.publisher(nil)
		for i := range 8 {
			p.send(amqp("", "q", strconv.Itoa(i)))
		}
		p.confirmed()
		w.letters("rest", 8)
		w.letters("small", 3)
		wantLetters(t, w.drain("small"))
		p.numbers("source", 1, 10)
		c, wake := w.consume("source")
		for _, d := range w.take(c, wake, 10) {
			c.Settle(core.Discard, d.Position)
		}
		got := w.letters("rest", 6)
		for i := range got {
			if want := fmt.Sprintf("%d maxlen@spills rejected@source", i+5); got[i] != want {
				t.Errorf("got %s, want %s", got[i], want)
			}
		}
		w.letters("spills", 4)
		w.restart()
		wantLetters(t, w.drain("spills"))
		wantLetters(t, w.drain("source"))
	})
}

// A queue with room for one message and a consumer with room for all gets all dead
// letters: what it has reserved for one is no reason to refuse another.
func TestDeadLettersForFlowingQueue(t *testing.T) {
	eachLetterWorld(t, func(_ *testing.T, w *world) {
		const n = 50
		w.declare("flowing", rejecting(1))
		c, wake := w.consume("flowing", core.NewLimit(0))
		w.declare("q", with(deadTo("", "flowing"), "x-max-length", int64(0)))
		w.publisher(nil).numbers("q", 1, n)
		w.take(c, wake, n)
	})
}

// At-least-once, dead letters wait for room where they go; those of other queues do not
// wait behind them.
func TestDeadLettersWaitForFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calmLetters)
		strict := func(exchange, key string) map[string]any {
			return with(with(deadTo(exchange, key), "x-queue-type", "quorum"), "x-dead-letter-strategy", "at-least-once")
		}
		w.declare("small", rejecting(2))
		w.queue("copies")
		for _, q := range []string{"small", "copies"} {
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
		}
		w.queue("large")
		w.declare("waits", with(strict("amq.fanout", ""), "x-max-length", int64(0)))
		w.declare("goes", with(strict("", "large"), "x-max-length", int64(0)))
		p := w.publisher(nil)
		p.numbers("waits", 1, 5)
		p.numbers("goes", 1, 5)
		pass()
		if n := w.ready("large"); n != 5 {
			t.Errorf("%d of 5 dead letters have gone", n)
		}
		var all []string
		for range 3 {
			if small, copies := w.ready("small"), w.ready("copies"); small > 2 || small != copies {
				t.Errorf("%d and %d dead letters, want the same in both and at most 2", small, copies)
			}
			all = append(all, w.drain("small")...)
			w.drain("copies")
			w.restart()
			pass()
			pass()
		}
		wantLetters(t, all, "1 maxlen@waits", "2 maxlen@waits", "3 maxlen@waits", "4 maxlen@waits", "5 maxlen@waits")
		wantLetters(t, w.drain("waits"))
	})
}

// A policy has queues spill too.
func TestPolicyOfSpilling(t *testing.T) {
	w := newWorldWith(t, 1, letters)
	w.queue("d")
	w.queue("q")
	w.govern("p", map[string]any{
		"max-length": int64(1), "overflow": "reject-publish-dlx",
		"dead-letter-exchange": "amq.fanout",
	})
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "d"}))
	p := w.publisher(nil)
	w.mustRefuse(p.refusals("q", "1", "2"), "2")
	wantLetters(t, w.drain("d"), "2 maxlen@q")
	w.ungovern("p")
	w.mustRefuse(p.refusals("q", "3"))
}
