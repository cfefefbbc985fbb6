package core_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// govern puts a policy in force, for all names.
func (w *world) govern(name string, definition map[string]any) {
	w.t.Helper()
	w.must(w.cat.PutPolicy(w.t.Context(), metadata.Policy{
		Namespace: "/", Name: name, Pattern: ".*", Definition: definition,
	}))
}

func (w *world) ungovern(name string) {
	w.t.Helper()
	_, err := w.cat.DeletePolicy(w.t.Context(), "/", name, false)
	w.must(err)
}

// A policy bounds queues that are there and such as come later, and of policy,
// operator policy and argument the smallest number counts.
func TestPoliciesBoundLengths(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("free")
	w.declare("short", map[string]any{"x-max-length": int64(2)})
	p := w.publisher(nil)
	p.numbers("free", 1, 20)
	lengths := func(free, short uint64) {
		t.Helper()
		if got := [2]uint64{w.ready("free"), w.ready("short")}; got != [2]uint64{free, short} {
			t.Errorf("messages wait: got %v, want %d and %d", got, free, short)
		}
	}
	lengths(20, 0)
	w.govern("p", map[string]any{"max-length": int64(8)}) // at once
	lengths(8, 0)
	p.numbers("free", 21, 40)
	p.numbers("short", 21, 40)
	lengths(8, 2)
	operator := metadata.Policy{
		Namespace: "/", Name: "o", Operator: true, Pattern: "^free$", ApplyTo: metadata.ApplyQueues,
		Definition: map[string]any{"max-length": int64(5)},
	}
	w.must(w.cat.PutPolicy(t.Context(), operator))
	lengths(5, 2)
	w.restart()
	p = w.publisher(nil)
	p.numbers("free", 41, 60)
	p.numbers("short", 41, 60)
	lengths(5, 2)
	w.crash()
	w.queue("later")
	p = w.publisher(nil)
	p.numbers("later", 1, 20)
	if n := w.ready("later"); n != 8 {
		t.Errorf("%d messages wait in a queue that came later, want 8", n)
	}
	w.ungovern("p")
	_, err := w.cat.DeletePolicy(t.Context(), "/", "o", true)
	w.must(err)
	p.numbers("free", 61, 80)
	p.numbers("short", 61, 80)
	lengths(25, 2)
}

// A time to live holds for what comes, and what waits keeps its own.
func TestPolicyOfTimesToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calm)
		w.queue("q")
		w.declare("own", ttl(time.Second))
		p := w.publisher(nil)
		p.numbers("q", 1, 1)
		w.govern("p", map[string]any{"message-ttl": int64(5000)})
		p.numbers("q", 2, 2)
		p.numbers("own", 2, 2)
		elapse(2 * time.Second)
		if q, own := w.ready("q"), w.ready("own"); q != 2 || own != 0 {
			t.Errorf("after 2 s: %d and %d messages wait, want 2 and 0", q, own)
		}
		elapse(4 * time.Second)
		c, wake := w.consume("q")
		want(t, w.take(c, wake, 1), "1")
		w.ungovern("p")
		p.numbers("q", 3, 3)
		elapse(time.Minute)
		want(t, w.take(c, wake, 1), "3")
	})
}

// A queue that a policy lets end is there as long after the change of the policy.
func TestPolicyEndsUnusedQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calm)
		for _, q := range []string{"q", "r"} {
			w.queue(q)
		}
		elapse(time.Hour)
		w.govern("p", map[string]any{"expires": int64(10_000)})
		elapse(9 * time.Second)
		w.must(w.cat.PutPolicy(t.Context(), metadata.Policy{
			Namespace: "/", Name: "r", Pattern: "^r$", Priority: 1, Definition: map[string]any{"expires": int64(60_000)},
		}))
		if !w.there("q") || !w.there("r") {
			t.Fatal("a queue ended too early")
		}
		elapse(2 * time.Second)
		if w.there("q") || !w.there("r") {
			t.Errorf("11 s later: q is there %v, r %v; want r alone", w.there("q"), w.there("r"))
		}
		w.ungovern("r")
		w.ungovern("p")
		elapse(time.Hour)
		if !w.there("r") {
			t.Error("the queue ended though no policy says so")
		}
	})
}

func TestPolicyOfAckTimeouts(t *testing.T) {
	w := newWorld(t, 1)
	w.declare("q", map[string]any{"x-queue-type": "quorum"})
	w.declare("classic", nil)
	w.declare("own", map[string]any{"x-consumer-timeout": int64(500)})
	q, _ := w.consume("q")
	classic, _ := w.consume("classic")
	own, _ := w.consume("own")
	check := func(wantQ, wantOwn time.Duration, given bool) {
		t.Helper()
		if got, ok := q.AckTimeout(); got != wantQ && ok || ok != given {
			t.Errorf("q: got %v %v, want %v %v", got, ok, wantQ, given)
		}
		if got, ok := own.AckTimeout(); got != wantOwn || !ok {
			t.Errorf("own: got %v %v, want %v", got, ok, wantOwn)
		}
	}
	check(0, 500*time.Millisecond, false)
	if got, ok := classic.AckTimeout(); got != 0 || !ok {
		t.Errorf("classic: got %v %v, want for ever", got, ok)
	}
	w.govern("p", map[string]any{"consumer-timeout": int64(2000)})
	check(2*time.Second, 500*time.Millisecond, true)
	w.govern("p", map[string]any{"consumer-timeout": int64(100)})
	check(100*time.Millisecond, 100*time.Millisecond, true)
	w.ungovern("p")
	check(0, 500*time.Millisecond, false)
}

func TestPolicyOfStreams(t *testing.T) {
	w, clk := streamWorld(t)
	w.stream("s", "x-max-length-bytes", int64(1<<30))
	w.fill("s", 1000, 100)
	w.must(w.cat.PutPolicy(t.Context(), metadata.Policy{
		Namespace: "/", Name: "p", Pattern: "^s", ApplyTo: metadata.ApplyStreams,
		Definition: map[string]any{"max-length-bytes": int64(1)},
	}))
	w.eventually("s", 1000-3*256) // whole chunks
	w.restart()
	w.fill("s", 256, 100)
	w.eventually("s", 1256-4*256)
	w.ungovern("p")
	w.govern("p", map[string]any{"max-age": "1h"})
	clk.ahead.Store(int64(2 * time.Hour))
	w.eventually("s", 1)
}

func TestPolicyOfAlternateExchange(t *testing.T) {
	w := newWorld(t, 1)
	for _, x := range []core.ExchangeSpec{
		{Name: "x", Type: "direct", Durable: true},
		{Name: "fleeting", Type: "direct"},
		{Name: "own", Type: "direct", Durable: true, Args: map[string]any{"alternate-exchange": "amq.direct"}},
	} {
		w.must(w.DeclareExchange(t.Context(), "/", x))
	}
	w.queue("q")
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "q"}))
	p := w.publisher(nil)
	routed := func() map[string]bool {
		t.Helper()
		got := map[string]bool{}
		for _, x := range []string{"x", "fleeting", "own", "later", ""} {
			m := amqp(x, "nobody", "1")
			done, err := p.p.Publish(&m)
			if x == "later" && errors.Is(err, core.ErrNotFound) {
				continue
			}
			w.must(err)
			got[x] = done.Routed
		}
		return got
	}
	check := func(when string, want map[string]bool) {
		t.Helper()
		if diff := cmp.Diff(want, routed()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("without a policy", map[string]bool{"x": false, "fleeting": false, "own": false, "": false})
	w.must(w.cat.PutPolicy(t.Context(), metadata.Policy{
		Namespace: "/", Name: "p", Pattern: "^[a-z]*$", ApplyTo: metadata.ApplyExchanges,
		Definition: map[string]any{"alternate-exchange": "amq.fanout"},
	}))
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "later", Type: "topic"}))
	check("with one", map[string]bool{"x": true, "fleeting": true, "own": false, "later": true, "": false})
	w.restart()
	p = w.publisher(nil)
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "fleeting", Type: "direct"}))
	check("after a restart", map[string]bool{"x": true, "fleeting": true, "own": false, "": false})
	w.ungovern("p")
	check("without it again", map[string]bool{"x": false, "fleeting": false, "own": false, "": false})
}

func TestCheckPolicy(t *testing.T) {
	for _, tc := range []struct {
		applyTo  string
		operator bool
		key      string
		value    any
		want     string
	}{
		{"all", false, "message-ttl", int64(0), ""},
		{"queues", true, "max-length", int64(3), ""},
		{"exchanges", false, "alternate-exchange", "x", ""},
		{"streams", false, "max-age", "7D", ""},
		{"streams", false, "max-length-bytes", int64(5), ""},
		{"all", false, "max-length-bytes", int64(5), ""},
		{"classic_queues", true, "max-length-bytes", int64(0), ""},
		{"queues", false, "max-length-bytes", int64(-1), "Validation failed\n\n-1 is not a valid maximum length in bytes\n"},
		{"all", false, "overflow", "reject-publish", ""},
		{"all", false, "overflow", "reject-publish-dlx", ""},
		{"all", false, "overflow", "spill", "Validation failed\n\n<<\"spill\">> is not a valid overflow mode\n"},
		{"all", false, "ha-mode", "all", ""},
		{"all", false, "ha-mode", "most", "Validation failed\n\n<<\"most\">> is not a valid ha-mode value\n"},
		{"all", false, "ha-params", int64(2), ""},
		{"all", false, "ha-params", []any{"a@host", "b@host"}, ""},
		{"all", false, "ha-sync-mode", "automatic", ""},
		{"queues", false, "queue-mode", "lazy", ""},
		{"queues", false, "queue-mode", int64(1), "Validation failed\n\n1 is not a valid queue-mode value\n"},
		{"queues", false, "queue-version", int64(2), ""},
		{"queues", false, "queue-version", int64(9), "Validation failed\n\n9 is not a valid queue-version value\n"},
		{"queues", false, "queue-version", []any{}, "Validation failed\n\n[] is not a valid queue-version value\n"},
		{"queues", false, "queue-master-locator", "min-masters", ""},
		{"queues", false, "queue-leader-locator", "balanced", ""},
		{"quorum_queues", true, "max-in-memory-length", int64(0), ""},
		{"quorum_queues", false, "max-in-memory-bytes", int64(-1), "Validation failed\n\n-1 is not a valid maximum memory in bytes\n"},
		{"quorum_queues", true, "target-group-size", int64(3), ""},
		{"all", false, "federation-upstream-set", "all", ""},
		{"all", false, "federation-upstream", int64(3), "Validation failed\n\n3 is not a valid federation upstream name\n"},
		{"all", false, "foo", int64(1), "Validation failed\n\n[{<<\"foo\">>,1}] are not recognised policy settings\n"},
		{"queues", true, "max-age", "7D", "Validation failed\n\n[{<<\"max-age\">>,<<\"7D\">>}] are not recognised policy settings\n"},
		{"queues", true, "queue-version", int64(1), "Validation failed\n\n[{<<\"queue-version\">>,1}] are not recognised policy settings\n"},
		{"all", false, "message-ttl", int64(-1), "Validation failed\n\n-1 is not a valid message TTL\n"},
		{"all", false, "expires", int64(0), "Validation failed\n\n0 is not a valid queue expiry\n"},
		{"all", false, "max-length", "5", "Validation failed\n\n<<\"5\">> is not a valid maximum length\n"},
		{"all", false, "max-age", "7", "Validation failed\n\n<<\"7\">> is not a valid max age\n"},
		{"all", false, "alternate-exchange", int64(7), "Validation failed\n\n7 is not a valid alternate exchange name\n"},
	} {
		err := core.CheckPolicy(&metadata.Policy{
			Name: "p", Namespace: "/", ApplyTo: tc.applyTo, Operator: tc.operator, Definition: map[string]any{tc.key: tc.value},
		})
		got := ""
		if e, ok := errors.AsType[*core.Error](err); ok && errors.Is(err, core.ErrInvalid) {
			got = e.Detail
		}
		if got != tc.want || (err == nil) != (tc.want == "") {
			t.Errorf("%s %v on %s: got %v %q, want %q", tc.key, tc.value, tc.applyTo, err, got, tc.want)
		}
	}
}
