package core_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// TestInbox publishes to a name that is no queue: what comes is handed over and
// stored nowhere, copies go to queues all the same, and afterwards nobody is there.
func TestInbox(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	var got []string
	full := false
	in, err := w.OpenInbox("/", "me", func(m *core.Message) bool {
		if full {
			return false
		}
		got = append(got, string(bytes.Clone(m.Payload)))
		return true
	})
	w.must(err)
	for _, name := range []string{"me", "q"} {
		if _, err := w.OpenInbox("/", name, nil); !errors.Is(err, core.ErrInUse) {
			t.Errorf("second inbox %s: got %v, want ErrInUse", name, err)
		}
	}
	if _, err := w.OpenInbox("none", "me", nil); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("inbox of an unknown namespace: got %v", err)
	}
	p := w.publisher(nil)
	copied := amqp("", "me", "2")
	copied.MoreKeys = [][]byte{[]byte("q"), []byte("q")}
	for _, m := range []core.Message{amqp("", "me", "1"), copied} {
		if !p.send(m).Routed {
			t.Errorf("message %s was not routed", m.Payload)
		}
	}
	other := amqp("amq.direct", "me", "3")
	if p.send(other).Routed {
		t.Error("a message to another exchange was routed")
	}
	p.confirmed()
	full = true
	if p.send(amqp("", "me", "4")).Routed {
		t.Error("a message that was dropped counts as routed")
	}
	if !w.HasInbox("/", "me") || w.HasInbox("/", "q") || w.HasInbox("none", "me") {
		t.Error("HasInbox is wrong")
	}
	full = false
	in.Close()
	in.Close()
	if w.HasInbox("/", "me") || p.send(amqp("", "me", "5")).Routed {
		t.Error("a closed inbox got a message")
	}
	p.confirmed()
	if len(got) != 2 || got[0] != "1" || got[1] != "2" {
		t.Errorf("inbox: got %q", got)
	}
	c, wake := w.consume("q")
	want(t, w.take(c, wake, 1), "2")
}

// TestRoutesAreKept publishes through exchanges whose choice the message makes, and
// others in the same namespace: both kinds go where they should, in any order.
func TestRoutesAreKept(t *testing.T) {
	w := newWorld(t, 1)
	for _, name := range []string{"q1", "q2", "h"} {
		w.queue(name)
	}
	ctx := t.Context()
	w.must(w.DeclareExchange(ctx, "/", core.ExchangeSpec{Name: "r", Type: "x-random", Durable: true}))
	w.must(w.DeclareExchange(ctx, "/", core.ExchangeSpec{Name: "c", Type: "x-consistent-hash", Durable: true}))
	for _, q := range []string{"q1", "q2"} {
		w.must(w.Bind(ctx, "/", core.BindingSpec{Source: "r", Dest: q}))
		w.must(w.Bind(ctx, "/", core.BindingSpec{Source: "c", Dest: q, Key: "1"}))
	}
	p := w.publisher(nil)
	const n = 100
	for range n {
		p.send(amqp("r", "k", "random"))
		p.send(amqp("c", "k", "hashed"))
	}
	p.confirmed()
	ready := map[string]uint64{}
	for _, q := range []string{"q1", "q2"} {
		info, err := w.Queue("/", q)
		w.must(err)
		ready[q] = info.Ready
	}
	less, more := min(ready["q1"], ready["q2"]), max(ready["q1"], ready["q2"])
	if less+more != 2*n || less < n/5 || less > n*4/5 {
		t.Errorf("%d messages by chance and %d by one key: got %v", n, n, ready)
	}
	bad := w.Bind(ctx, "/", core.BindingSpec{Source: "c", Dest: "h", Key: "heavy"})
	if err, ok := errors.AsType[*core.Error](bad); !ok || err.Kind != "binding" || err.Detail != `The binding key must be an integer: <<"heavy">>` {
		t.Errorf("binding without a weight: got %v", bad)
	}
	w.restart()
	assigned, again := ready, map[string]uint64{}
	p = w.publisher(nil)
	for range n {
		p.send(amqp("c", "k", "hashed"))
	}
	p.confirmed()
	for _, q := range []string{"q1", "q2"} {
		info, err := w.Queue("/", q)
		w.must(err)
		again[q] = info.Ready - assigned[q]
	}
	if (assigned["q1"] == more) != (again["q1"] == n) {
		t.Errorf("the key changed its queue with a restart: before %v, then %v", assigned, again)
	}
}
