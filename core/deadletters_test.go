package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
)

// deaths is a writer of dead letters whose properties are "reason@queue" of each
// death, the latest first.
func deaths(_ *core.Broker, d *core.Death) (core.DeadLetter, error) {
	m := d.Message
	all := []string{d.Reason + "@" + d.Queue}
	if d.Known {
		all = append(all, strings.Split(string(m.Properties), " ")...)
	}
	letter := core.DeadLetter{Key: m.Key, Properties: []byte(strings.Join(all, " "))}
	for _, one := range all {
		reason, queue, _ := strings.Cut(one, "@")
		letter.Past = append(letter.Past, core.PastDeath{Queue: queue, Reason: reason})
	}
	return letter, nil
}

// letters has a world write dead letters.
func letters(_ *core.Config, d *core.Deps) { d.DeadLetter = deaths }

func calmLetters(c *core.Config, d *core.Deps) {
	calm(c, d)
	letters(c, d)
}

func deadTo(exchange, key string) map[string]any {
	return map[string]any{"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key}
}

func with(args map[string]any, name string, value any) map[string]any {
	args[name] = value
	return args
}

// drain takes and acks what is ready in a queue, as "body properties", with a mark
// where it came again.
func (w *world) drain(queue string) (all []string) {
	w.t.Helper()
	for {
		d, g, _, ok, err := w.Get(w.t.Context(), "/", queue, "", false)
		w.must(err)
		if !ok {
			return all
		}
		g.Settle(core.Ack, d.Position)
		all = append(all, described(&d))
	}
}

func described(d *core.Delivery) string {
	s := string(d.Message.Payload)
	if d.Redelivered {
		s += "!"
	}
	return strings.TrimSpace(s + " " + string(d.Message.Properties))
}

// letters receives n dead letters.
func (w *world) letters(queue string, n int) (all []string) {
	w.t.Helper()
	c, wake := w.consume(queue)
	got := w.take(c, wake, n)
	for i := range got {
		all = append(all, described(&got[i]))
		c.Settle(core.Ack, got[i].Position)
	}
	w.must(c.Cancel(w.t.Context()))
	return all
}

// counted waits until as many dead letters are counted, which is after they came.
func (w *world) counted(want uint64) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.Stats().DeadLetters != want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("counted %d dead letters, want %d", w.Stats().DeadLetters, want)
		}
	}
}

func wantLetters(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

func eachLetterWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", n), func(t *testing.T) { fn(t, newWorldWith(t, n, letters)) })
	}
}

func TestDeadLettersOfEachReason(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.queue("d")
		w.declare("q", deadTo("", "d"))
		w.declare("short", with(deadTo("", "d"), "x-max-length", int64(1)))
		w.declare("brief", with(deadTo("", "d"), "x-message-ttl", int64(20)))
		w.declare("quorum", with(with(deadTo("", "d"), "x-queue-type", "quorum"), "x-delivery-limit", int64(2)))
		p := w.publisher(nil)
		p.send(amqp("", "q", "1"))
		p.send(amqp("", "q", "2"))
		p.send(amqp("", "short", "3"))
		p.send(amqp("", "short", "4"))
		p.send(amqp("", "brief", "5"))
		m := amqp("", "q", "6")
		m.ExpireAt = time.Now().Add(20 * time.Millisecond).UnixMilli()
		p.send(m)
		p.send(amqp("", "quorum", "7"))
		p.confirmed()
		c, wake := w.consume("q", core.NewLimit(1)) // a rejection makes room
		first := w.take(c, wake, 1)
		c.Settle(core.Discard, first[0].Position)
		c.Settle(core.Discard, first[0].Position) // once is enough
		second := w.take(c, wake, 1)
		c.Settle(core.Discard, second[0].Position)
		w.must(c.Cancel(t.Context()))
		back, wake := w.consume("quorum", core.NewLimit(1))
		for n := range uint32(3) {
			d := w.take(back, wake, 1)
			if d[0].Returns != n {
				t.Errorf("came back %d times, want %d", d[0].Returns, n)
			}
			back.Settle(core.Requeue, d[0].Position)
		}
		got := w.letters("d", 6)
		slices.Sort(got)
		wantLetters(t, got, "1 rejected@q", "2 rejected@q", "3 maxlen@short", "5 expired@brief", "6 expired@q",
			"7 delivery_limit@quorum")
		if st, err := w.CheckQueue("/", "q", ""); err != nil || st.Ready+st.Unsettled > 0 {
			t.Errorf("the queue has %d and %d, %v", st.Ready, st.Unsettled, err)
		}
		w.counted(6)
		w.crash()
		wantLetters(t, w.drain("q"))
		wantLetters(t, w.drain("short"), "4")
	})
}

// What is moved has no place: dropped, or kept until there is one.
func TestDeadLettersWithoutAPlace(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.declare("drops", deadTo("missing", "k"))
		args := with(with(deadTo("later", "k"), "x-queue-type", "quorum"), "x-dead-letter-strategy", "at-least-once")
		w.declare("keeps", args)
		p := w.publisher(nil)
		for _, q := range []string{"drops", "keeps"} {
			for i := range 3 {
				p.send(amqp("", q, fmt.Sprint(q, i)))
			}
			p.confirmed()
			c, wake := w.consume(q)
			for _, d := range w.take(c, wake, 3) {
				c.Settle(core.Discard, d.Position)
			}
			w.must(c.Cancel(t.Context()))
		}
		w.queue("d")
		w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "later", Type: "direct", Durable: true, Internal: true}))
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "later", Dest: "d", Key: "k"}))
		got := w.letters("d", 3)
		slices.Sort(got)
		wantLetters(t, got, "keeps0 rejected@keeps", "keeps1 rejected@keeps", "keeps2 rejected@keeps")
		w.restart()
		wantLetters(t, w.drain("drops"))
		wantLetters(t, w.drain("keeps"))
	})
}

// A message that dies by itself in a circle of queues ends there; one that somebody
// rejects goes round.
func TestDeadLettersInACircle(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.declare("a", with(deadTo("", "b"), "x-message-ttl", int64(5)))
		w.declare("b", deadTo("", "a"))
		p := w.publisher(nil)
		p.send(amqp("", "a", "1"))
		p.confirmed()
		c, wake := w.consume("b")
		for _, want := range []string{"1 expired@a", "1 expired@a rejected@b expired@a"} {
			d := w.take(c, wake, 1)
			if got := described(&d[0]); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			c.Settle(core.Discard, d[0].Position)
		}
		w.must(c.Cancel(t.Context()))
		w.declare("self", with(deadTo("", "self"), "x-message-ttl", int64(5)))
		w.declare("tells", with(deadTo("", "end"), "x-message-ttl", int64(40)))
		w.queue("end")
		p.send(amqp("", "self", "2"))
		p.send(amqp("", "tells", "3"))
		p.confirmed()
		wantLetters(t, w.letters("end", 1), "3 expired@tells")
		wantLetters(t, w.drain("self"))
	})
}

// A policy gives a queue its exchange, and takes it away.
func TestPolicyOfDeadLetters(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.queue("q")
		w.queue("d")
		p := w.publisher(nil)
		reject := func(body string) {
			t.Helper()
			p.send(amqp("", "q", body))
			p.confirmed()
			d, g, _, ok, err := w.Get(t.Context(), "/", "q", "", false)
			if w.must(err); !ok {
				t.Fatal("nothing to get")
			}
			g.Settle(core.Discard, d.Position)
		}
		reject("before")
		w.govern("p", map[string]any{"dead-letter-exchange": "", "dead-letter-routing-key": "d"})
		reject("under")
		wantLetters(t, w.letters("d", 1), "under rejected@q")
		w.ungovern("p")
		reject("after")
		w.restart()
		wantLetters(t, w.drain("d"))
		wantLetters(t, w.drain("q"))
	})
}

// What expires while the broker is away is moved at the start, and what expired in a
// queue without an exchange is not.
func TestDeadLettersOfWhatExpiredWhileAway(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.queue("d")
		w.declare("q", with(deadTo("", "d"), "x-message-ttl", int64(1)))
		w.declare("plain", ttl(time.Millisecond))
		p := w.publisher(nil)
		for i := range 100 {
			p.send(amqp("", "q", fmt.Sprintf("%03d", i)))
			p.send(amqp("", "plain", "x"))
		}
		p.confirmed()
		w.crash()
		got := w.letters("d", 100)
		slices.Sort(got)
		for i := range got {
			if want := fmt.Sprintf("%03d expired@q", i); got[i] != want {
				t.Fatalf("got %s, want %s", got[i], want)
			}
		}
		wantLetters(t, w.drain("plain"))
		wantLetters(t, w.drain("d"))
	})
}

// A dead letter goes by the keys of its message that its properties do not tell of,
// again and over crashes, unless it gets a key of its own.
func TestDeadLettersGoByAllKeys(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.declare("q", map[string]any{"x-dead-letter-exchange": "amq.direct"})
		w.declare("again", map[string]any{"x-dead-letter-exchange": "amq.topic"})
		w.declare("keyed", deadTo("amq.topic", "own"))
		w.declare("full", map[string]any{
			"x-dead-letter-exchange": "amq.topic", "x-max-length": int64(0), "x-overflow": "reject-publish-dlx",
		})
		w.queue("d")
		for _, q := range []string{"again", "keyed"} {
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.direct", Dest: q, Key: "hidden." + q}))
		}
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.topic", Dest: "d", Key: "hidden.#"}))
		p := w.publisher(nil)
		for _, body := range []string{"again", "keyed", "full"} {
			m := amqp("", "q", body)
			m.MoreKeys = [][]byte{[]byte("told"), []byte("hidden." + body)}
			m.HiddenKeys = m.MoreKeys[1:]
			if body == "full" {
				m.Key = []byte("full")
				if _, err := p.p.Publish(&m); !errors.Is(err, core.ErrFull) {
					t.Errorf("got %v, want %v", err, core.ErrFull)
				}
				p.n++
				continue
			}
			p.send(m)
		}
		p.confirmed()
		w.crash()
		reject := func(queue string, n int) {
			t.Helper()
			c, wake := w.consume(queue)
			for _, d := range w.take(c, wake, n) {
				c.Settle(core.Discard, d.Position)
			}
			w.must(c.Cancel(t.Context()))
		}
		reject("q", 2)
		reject("keyed", 1)
		reject("again", 1)
		got := w.letters("d", 2)
		slices.Sort(got)
		wantLetters(t, got, "again rejected@again rejected@q", "full maxlen@full")
		w.restart()
		wantLetters(t, w.drain("d"))
	})
}

// The smallest limit of argument and policies counts, of quorum queues alone.
func TestPolicyOfDeliveryLimits(t *testing.T) {
	w := newWorldWith(t, 1, letters)
	w.declare("own", map[string]any{"x-queue-type": "quorum", "x-delivery-limit": int64(1)})
	w.declare("free", map[string]any{"x-queue-type": "quorum"})
	w.queue("classic")
	w.govern("p", map[string]any{"delivery-limit": int64(2)})
	p := w.publisher(nil)
	for queue, lives := range map[string]int{"own": 2, "free": 3, "classic": 5} {
		p.send(amqp("", queue, "1"))
		p.confirmed()
		n := 0
		for ; n < 5; n++ {
			d, g, _, ok, err := w.Get(t.Context(), "/", queue, "", false)
			if w.must(err); !ok {
				break
			}
			g.Settle(core.Requeue, d.Position)
		}
		if n != lives {
			t.Errorf("queue %s: delivered %d times, want %d", queue, n, lives)
		}
	}
}

// While the disk is low dead letters wait, and come afterwards.
func TestDeadLettersWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calmLetters)
		w.disk(50 * gib)
		w.queue("d")
		w.declare("q", deadTo("", "d"))
		w.declare("nowhere", deadTo("missing", ""))
		p := w.publisher(nil)
		p.send(amqp("", "q", "1"))
		p.send(amqp("", "nowhere", "2"))
		p.confirmed()
		w.disk(gib)
		pass()
		for _, q := range []string{"nowhere", "q"} {
			d, g, _, ok, err := w.Get(t.Context(), "/", q, "", false)
			if w.must(err); !ok {
				t.Fatalf("queue %s is empty", q)
			}
			g.Settle(core.Discard, d.Position)
		}
		for range 3 {
			pass()
		}
		if n := w.ready("d"); n > 0 {
			t.Errorf("%d dead letters came while the disk was low", n)
		}
		w.disk(50 * gib)
		pass()
		pass()
		wantLetters(t, w.drain("d"), "1 rejected@q")
		w.restart()
		wantLetters(t, w.drain("q"))
		wantLetters(t, w.drain("nowhere"))
	})
}

// What a transaction rejects becomes dead letters once it is committed.
func TestTransactionMakesDeadLetters(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.queue("d")
		w.queue("other")
		w.declare("q", deadTo("", "d"))
		p := w.publisher(nil)
		p.send(amqp("", "q", "1"))
		p.send(amqp("", "q", "2"))
		p.confirmed()
		c, wake := w.consume("q")
		ds := w.take(c, wake, 2)
		tx := w.publisher(nil).p.Begin()
		w.must(tx.Settle(c, core.Discard, ds[0].Position))
		w.must(tx.Settle(c, core.Ack, ds[1].Position))
		m := amqp("", "other", "new")
		_, err := tx.Publish(&m)
		w.must(err)
		if n := w.ready("d"); n > 0 {
			t.Errorf("%d dead letters before the commit", n)
		}
		w.must(tx.Commit())
		wantLetters(t, w.letters("d", 1), "1 rejected@q")
		w.restart()
		wantLetters(t, w.drain("q"))
		wantLetters(t, w.drain("other"), "new")
	})
}
