package core_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// TestLists lists what is durable and what lives in memory, of all owners.
func TestLists(t *testing.T) {
	w := newWorld(t, 1)
	ctx := t.Context()
	w.must(w.DeclareExchange(ctx, "/", core.ExchangeSpec{Name: "x", Type: "topic", Durable: true}))
	for _, spec := range []core.QueueSpec{
		{Name: "b", Durable: true}, {Name: "a", Exclusive: true, Owner: "me"}, {Name: "c", AutoDelete: true},
	} {
		_, err := w.DeclareQueue(ctx, "/", spec)
		w.must(err)
	}
	w.must(w.Bind(ctx, "/", core.BindingSpec{Source: "x", Dest: "b", Key: "k"}))
	w.must(w.Bind(ctx, "/", core.BindingSpec{Source: "x", Dest: "c", Key: "k2", Args: map[string]any{"n": int64(1)}}))
	w.must(w.Bind(ctx, "/", core.BindingSpec{Source: "amq.fanout", Dest: "x", ToExchange: true}))

	queues, err := w.Queues("/")
	w.must(err)
	var names []string
	for _, q := range queues {
		names = append(names, q.QueueSpec.Name)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, names); d != "" {
		t.Errorf("queues (-want +got):\n%s", d)
	}
	if q, err := w.Queue("/", "a"); err != nil || q.Owner != "me" || !q.Exclusive {
		t.Errorf("exclusive queue: got %+v, %v", q, err)
	}
	exchanges, err := w.Exchanges("/")
	w.must(err)
	if len(exchanges) != 8 || exchanges[0].Name != "" || exchanges[7].Name != "x" {
		t.Errorf("exchanges: got %+v", exchanges)
	}
	bindings, err := w.Bindings("/")
	w.must(err)
	want := []core.BindingInfo{
		{BindingSpec: core.BindingSpec{Dest: "a", Key: "a"}},
		{BindingSpec: core.BindingSpec{Dest: "b", Key: "b"}, Durable: true},
		{BindingSpec: core.BindingSpec{Dest: "c", Key: "c"}},
		{BindingSpec: core.BindingSpec{Source: "amq.fanout", Dest: "x", ToExchange: true}, Durable: true},
		{BindingSpec: core.BindingSpec{Source: "x", Dest: "b", Key: "k"}, Durable: true},
		{BindingSpec: core.BindingSpec{Source: "x", Dest: "c", Key: "k2", Args: map[string]any{"n": int64(1)}}},
	}
	if d := cmp.Diff(want, bindings); d != "" {
		t.Errorf("bindings (-want +got):\n%s", d)
	}
	if _, err := w.Queues("none"); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("unknown namespace: got %v", err)
	}
}

// TestDeletedNamespaceLeavesNothing makes a namespace again under the name of a
// deleted one.
func TestDeletedNamespaceLeavesNothing(t *testing.T) {
	w := newWorld(t, 2)
	ctx := t.Context()
	create := func() {
		t.Helper()
		_, err := w.cat.CreateNamespace(ctx, metadata.Namespace{Name: "shop"})
		w.must(err)
	}
	create()
	for _, spec := range []core.QueueSpec{{Name: "durable", Durable: true}, {Name: "transient"}} {
		_, err := w.DeclareQueue(ctx, "shop", spec)
		w.must(err)
	}
	spec := core.SessionSpec{
		ClientID: "c", Owner: "u", Expiry: core.Forever, Notify: func() {},
		Live: func(*core.Message, []core.SubID) bool { return true },
	}
	kicked := make(chan struct{})
	spec.Kicked = func() { close(kicked) }
	s, _, err := w.OpenSession(ctx, "shop", spec)
	w.must(err)
	_, err = s.Subscribe(ctx, []core.SubscriptionSpec{{Filter: "a/#", QoS: 1}})
	w.must(err)
	before := w.Stats().Streams
	w.must(w.EndSessions(ctx, "shop"))
	<-kicked
	_, err = w.cat.DeleteNamespace(ctx, "shop")
	w.must(err)
	w.must(w.EndSessions(ctx, "shop"))
	if after := w.Stats().Streams; after >= before || after != 0 {
		t.Errorf("streams: got %d after %d, want 0", after, before)
	}
	if _, err := w.Queues("shop"); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("deleted namespace: got %v", err)
	}
	create()
	if queues, err := w.Queues("shop"); err != nil || len(queues) != 0 {
		t.Errorf("queues of the new namespace: got %v, %v", queues, err)
	}
	spec.Kicked = nil
	again, present, err := w.OpenSession(ctx, "shop", spec)
	w.must(err)
	if present || len(again.Subscriptions()) != 0 {
		t.Errorf("the new namespace met a session of the old one: %v", again.Subscriptions())
	}
	w.must(again.Close(ctx))
}
