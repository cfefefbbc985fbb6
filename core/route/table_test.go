package route_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/route"
)

type (
	binding = route.Binding[string]
	args    = map[string]any
)

// graph makes a table from exchanges and bindings that must all be new.
func graph(t *testing.T, exchanges []route.Exchange, bindings ...binding) *route.Table[string] {
	t.Helper()
	table := route.New[string]()
	for _, x := range exchanges {
		if err := table.AddExchange(x); err != nil {
			t.Fatalf("AddExchange(%v): %v", x, err)
		}
	}
	for _, b := range bindings {
		if !table.Bind(b) {
			t.Fatalf("Bind(%+v) = false, want true", b)
		}
	}
	return table
}

// match returns what a publish reaches, sorted.
func match(t *testing.T, table *route.Table[string], exchange, key string, headers args) []string {
	t.Helper()
	get := func(name string) (any, bool) { v, ok := headers[name]; return v, ok }
	got, _, err := table.Match(exchange, []byte(key), get, nil)
	if err != nil {
		t.Fatalf("Match(%q, %q): %v", exchange, key, err)
	}
	slices.Sort(got)
	return got
}

func TestPredeclaredExchanges(t *testing.T) {
	var got []string
	for x := range route.New[int]().Exchanges() {
		if !x.Durable {
			t.Errorf("exchange %q is not durable", x.Name)
		}
		got = append(got, x.Name+":"+x.Type)
	}
	want := []string{
		":direct", "amq.direct:direct", "amq.fanout:fanout", "amq.headers:headers",
		"amq.match:headers", "amq.rabbitmq.trace:topic", "amq.topic:topic",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Exchanges (-want +got):\n%s", diff)
	}
	table := route.New[int]()
	table.RemoveExchange("")
	table.RemoveExchange(route.TopicExchange)
	if _, ok := table.Exchange(route.TopicExchange); !ok {
		t.Error("RemoveExchange removed amq.topic")
	}
}

func TestAddExchange(t *testing.T) {
	table := graph(t, []route.Exchange{{Name: "x", Type: route.Fanout}}, binding{Source: "x", Dest: "q"})
	if err := table.AddExchange(route.Exchange{Name: "y", Type: "x-lottery"}); !errors.Is(err, route.ErrInvalid) {
		t.Errorf("unknown type: got %v, want ErrInvalid", err)
	}
	if err := table.AddExchange(route.Exchange{Name: "x", Type: route.Topic}); !errors.Is(err, route.ErrInvalid) {
		t.Errorf("other type: got %v, want ErrInvalid", err)
	}
	if err := table.AddExchange(route.Exchange{Name: "x", Type: route.Fanout, Alternate: "z"}); err != nil {
		t.Errorf("same type: %v", err)
	}
	if x, _ := table.Exchange("x"); x.Alternate != "z" {
		t.Errorf("alternate = %q, want %q", x.Alternate, "z")
	}
	if got := match(t, table, "x", "", nil); !slices.Equal(got, []string{"q"}) {
		t.Errorf("bindings after a second AddExchange: %v, want [q]", got)
	}
}

func TestCheck(t *testing.T) {
	table := graph(t, nil)
	for _, c := range []struct {
		b    binding
		want error
	}{
		{binding{Source: "amq.topic", Key: "a", Dest: "q"}, nil},
		{binding{Source: "amq.match", Args: args{"x-match": "any-with-x"}, Dest: "q"}, nil},
		{binding{Source: "", Key: "a", Dest: "q"}, route.ErrInvalid},
		{binding{Source: "none", Dest: "q"}, route.ErrNotFound},
		{binding{Source: "amq.topic", ToExchange: "none"}, route.ErrNotFound},
		{binding{Source: "amq.match", Args: args{"x-match": "some"}, Dest: "q"}, route.ErrInvalid},
		{binding{Source: "amq.match", Args: args{"x-match": 1}, Dest: "q"}, route.ErrInvalid},
		{binding{Source: "amq.topic", Key: string(make([]byte, 300)), Dest: "q"}, nil},
	} {
		if err := table.Check(c.b); !errors.Is(err, c.want) {
			t.Errorf("Check(%+v) = %v, want %v", c.b, err, c.want)
		}
		if got := table.Bind(c.b); got != (c.want == nil) {
			t.Errorf("Bind(%+v) = %v, want %v", c.b, got, c.want == nil)
		}
	}
}

func TestBindingIdentity(t *testing.T) {
	table := graph(t, nil,
		binding{Source: "amq.direct", Key: "k", Dest: "q"},
		binding{Source: "amq.direct", Key: "k", Dest: "r"},
		binding{Source: "amq.direct", Key: "l", Dest: "q"},
		binding{Source: "amq.direct", Key: "k", Dest: "q", Args: args{"n": int32(1)}},
		binding{Source: "amq.direct", Key: "k", ToExchange: "amq.topic"},
		binding{Source: "amq.topic", Key: "k", Dest: "q"},
	)
	for _, again := range []binding{
		{Source: "amq.direct", Key: "k", Dest: "q", Args: args{}},
		{Source: "amq.direct", Key: "k", Dest: "q", Args: args{"n": int64(1)}},
		{Source: "amq.direct", Key: "k", Dest: "ignored", ToExchange: "amq.topic"},
	} {
		if table.Bind(again) {
			t.Errorf("Bind(%+v) again = true, want false", again)
		}
	}
	if !table.BindFilter("k", "q") {
		t.Error("a filter is the same as a binding of its form")
	}
	if got := match(t, table, "amq.direct", "k", nil); !slices.Equal(got, []string{"q", "r"}) {
		t.Errorf("match = %v, want each destination once", got)
	}
	if removed, _ := table.Unbind(binding{Source: "amq.direct", Key: "k", Dest: "q", Args: args{"n": "1"}}); removed {
		t.Error("Unbind with other arguments removed something")
	}
}

func TestAutoDelete(t *testing.T) {
	exchanges := []route.Exchange{
		{Name: "auto1", Type: route.Direct, AutoDelete: true},
		{Name: "auto2", Type: route.Topic, AutoDelete: true},
		{Name: "kept", Type: route.Fanout},
	}
	toQ1, toQ2 := binding{Source: "auto1", Key: "k", Dest: "q"}, binding{Source: "auto1", Key: "l", Dest: "q"}
	table := graph(t, exchanges, toQ1, toQ2,
		binding{Source: "auto2", Key: "#", Dest: "q"},
		binding{Source: "auto2", Key: "#", ToExchange: "kept"},
		binding{Source: "kept", Dest: "q"},
	)
	if _, gone := table.Unbind(toQ1); gone != nil {
		t.Errorf("Unbind of one of two: auto-deleted %v, want none", gone)
	}
	if _, gone := table.Unbind(toQ2); !slices.Equal(gone, []string{"auto1"}) {
		t.Errorf("Unbind of the last: auto-deleted %v, want [auto1]", gone)
	}
	if gone := table.RemoveDest("q"); gone != nil {
		t.Errorf("RemoveDest: auto-deleted %v, want none", gone)
	}
	if gone := table.RemoveExchange("kept"); !slices.Equal(gone, []string{"auto2"}) {
		t.Errorf("RemoveExchange: auto-deleted %v, want [auto2]", gone)
	}
	if _, ok := table.Exchange("auto2"); !ok {
		t.Error("the table removed auto2 by itself")
	}
}

func TestRemoveDest(t *testing.T) {
	table := graph(t, []route.Exchange{{Name: "auto", Type: route.Fanout, AutoDelete: true}},
		binding{Source: "auto", Dest: "q"},
		binding{Source: "amq.fanout", Dest: "q"},
		binding{Source: "amq.fanout", Dest: "r"},
		binding{Source: "amq.match", Dest: "q"},
	)
	table.BindFilter("a/#", "q")
	table.AddQueue("q", "q")
	if gone := table.RemoveDest("q"); !slices.Equal(gone, []string{"auto"}) {
		t.Errorf("RemoveDest = %v, want [auto]", gone)
	}
	for exchange, want := range map[string][]string{"auto": nil, "amq.fanout": {"r"}, "amq.match": nil, "amq.topic": nil, "": {"q"}} {
		key := "a"
		if exchange == "" {
			key = "q"
		}
		if got := match(t, table, exchange, key, nil); !slices.Equal(got, want) {
			t.Errorf("after RemoveDest, match on %q = %v, want %v", exchange, got, want)
		}
	}
	table.RemoveQueue("q")
	if got := match(t, table, "", "q", nil); got != nil {
		t.Errorf("after RemoveQueue: %v, want none", got)
	}
}
