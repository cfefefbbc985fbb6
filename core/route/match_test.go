package route_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core/route"
)

func TestMatchMissingExchange(t *testing.T) {
	_, _, err := route.New[int]().Match("none", nil, nil, nil)
	if !errors.Is(err, route.ErrNotFound) {
		t.Errorf("Match = %v, want ErrNotFound", err)
	}
}

func TestMatchAppends(t *testing.T) {
	table := graph(t, nil, binding{Source: "amq.fanout", Dest: "q"})
	got, _, err := table.Match("amq.fanout", nil, nil, []string{"q"})
	if err != nil || !slices.Equal(got, []string{"q", "q"}) {
		t.Errorf("Match = %v, %v, want what was there and one more", got, err)
	}
}

func TestMatchTopic(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"a.b.c", "a.b.c", true},
		{"a.*.c", "a.b.c", true},
		{"a.#.b", "a.b", true},
		{"a.#.b", "a.x.y.b", true},
		{"a.b", "a.b.c", false},
		{"*", "", false},
		{"#", "", true},
		{"", "", true},
		{"", "a", false},
		{"*.*", ".", true},
		{"*", ".", false},
		{"#.#", "", true},
		{"*.#", "", false},
		{"#.*", "", false},
		{"#.#.#", "a.b", true},
		{"*.#.a", "a", false},
		{"*.#.a", "a.a", true},
		{"#.a.#.a.#", "x.a.a", true},
		{"#.a.#.a.#", "x.a.x", false},
		{"a.#", "a", true},
		{"a#", "a", false},
		{"a#", "a#", true},
		{"+", "x", false},
		{"#", "$SYS.x", true},
		{"*.x", "$SYS.x", true},
		{"#.b", "a.b.", false},
		{"#.", "a.", true},
	} {
		table := graph(t, nil, binding{Source: "amq.topic", Key: c.pattern, Dest: "q"})
		if got := match(t, table, "amq.topic", c.key, nil); (len(got) == 1) != c.want {
			t.Errorf("binding key %q, routing key %q: %v, want %v", c.pattern, c.key, got, c.want)
		}
	}
}

func TestMatchFiltersInTable(t *testing.T) {
	for _, c := range filterCases {
		table := graph(t, nil)
		if !table.BindFilter(c.filter, "q") || table.BindFilter(c.filter, "q") {
			t.Fatalf("BindFilter(%q) twice: want true, then false", c.filter)
		}
		if got := match(t, table, "amq.topic", swap(c.topic), nil); (len(got) == 1) != c.want {
			t.Errorf("filter %q, topic %q: %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}

func TestMatchSkipsFiltersForIllegalTopics(t *testing.T) {
	table := graph(t, nil, binding{Source: "amq.topic", Key: "#", Dest: "amqp"})
	table.BindFilter("#", "all")
	table.BindFilter("+/b", "b")
	table.BindFilter("x", "x")
	for key, skipped := range map[string]int{
		"": 1, "+.b": 2, "a#.c": 1, "a\x00": 1, "\xff.b": 2, "$a.b": 0, strings.Repeat(".", 128): 1, strings.Repeat(".", 127): 0,
	} {
		_, result, err := table.Match("amq.topic", []byte(key), nil, nil)
		if err != nil || result.Skipped != skipped {
			t.Errorf("Match(%.10q): skipped %d, %v, want %d", key, result.Skipped, err, skipped)
		}
		got := match(t, table, "amq.topic", key, nil)
		if slices.Contains(got, "all") != (key == strings.Repeat(".", 127)) || !slices.Contains(got, "amqp") {
			t.Errorf("Match(%.10q) = %v", key, got)
		}
	}
}

func TestMatchDefaultExchange(t *testing.T) {
	table := graph(t, nil)
	table.AddQueue("orders.new", "q1")
	if got := match(t, table, "", "orders.new", nil); !slices.Equal(got, []string{"q1"}) {
		t.Errorf("match = %v, want [q1]", got)
	}
	if got := match(t, table, "", "orders", nil); got != nil {
		t.Errorf("match = %v, want none", got)
	}
}

func TestMatchThroughExchanges(t *testing.T) {
	table := graph(t,
		[]route.Exchange{
			{Name: "a", Type: route.Topic},
			{Name: "b", Type: route.Fanout},
			{Name: "c", Type: route.Direct},
			{Name: "inner", Type: route.Fanout, Internal: true},
		},
		binding{Source: "a", Key: "x.#", ToExchange: "b"},
		binding{Source: "a", Key: "x.y", ToExchange: "c"},
		binding{Source: "b", ToExchange: "a"}, // a cycle
		binding{Source: "b", ToExchange: "b"},
		binding{Source: "b", Dest: "q1"},
		binding{Source: "c", Key: "x.y", Dest: "q1"},
		binding{Source: "c", Key: "x.y", Dest: "q2"},
		binding{Source: "c", Key: "x.y", ToExchange: "inner"},
		binding{Source: "inner", Dest: "q3"},
	)
	for key, want := range map[string][]string{"x.y": {"q1", "q2", "q3"}, "x.z": {"q1"}, "y": nil} {
		if got := match(t, table, "a", key, nil); !slices.Equal(got, want) {
			t.Errorf("match %q = %v, want %v", key, got, want)
		}
	}
}

func TestMatchThroughManyExchanges(t *testing.T) {
	table := route.New[int]()
	const n = 50
	name := func(i int) string { return strconv.Itoa(i % n) }
	for i := range n {
		if err := table.AddExchange(route.Exchange{Name: name(i), Type: route.Fanout}); err != nil {
			t.Fatal(err)
		}
		table.Bind(route.Binding[int]{Source: name(i), Dest: i})
	}
	for i := range n {
		table.Bind(route.Binding[int]{Source: name(i), ToExchange: name(i + 1)})
		table.Bind(route.Binding[int]{Source: name(i), ToExchange: name(i + 7)})
	}
	got, _, err := table.Match("3", nil, nil, nil)
	slices.Sort(got)
	if err != nil || len(slices.Compact(got)) != n || len(got) != n {
		t.Errorf("Match = %v, %v, want each of %d once", got, err, n)
	}
}

// TestMatchDoesNotAllocate matches on each type with room in dst and a key and a name too
// long for the compiler's own room.
func TestMatchDoesNotAllocate(t *testing.T) {
	long := strings.Repeat("x", 100)
	table := graph(t, []route.Exchange{{Name: long, Type: route.Fanout}},
		binding{Source: "amq.direct", Key: long, Dest: "q1"},
		binding{Source: "amq.topic", Key: "#.*." + long + ".#", Dest: "q2"},
		binding{Source: "amq.topic", Key: "#", ToExchange: long},
		binding{Source: long, Dest: "q2"},
		binding{Source: long, Dest: "q3"},
	)
	table.BindFilter("+/+/"+long, "q3")
	table.AddQueue(long, "q1")
	dst := make([]string, 0, 8)
	for exchange, key := range map[string][]byte{
		"": []byte(long), "amq.direct": []byte(long), "amq.topic": []byte("a.b." + long), long: nil, "amq.fanout": nil,
	} {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = table.Match(exchange, key, nil, dst) }); n != 0 {
			t.Errorf("Match on %.10q: %v allocations, want 0", exchange, n)
		}
	}
}

func TestMatchAlternate(t *testing.T) {
	table := graph(t,
		[]route.Exchange{
			{Name: "a", Type: route.Direct, Alternate: "b"},
			{Name: "b", Type: route.Direct, Alternate: "c"},
			{Name: "c", Type: route.Direct, Alternate: "a"}, // a cycle
			{Name: "lost", Type: route.Direct, Alternate: "missing"},
			{Name: "named", Type: route.Direct, Alternate: ""},
			{Name: "hub", Type: route.Fanout, Alternate: "all"},
			{Name: "all", Type: route.Fanout},
		},
		binding{Source: "a", Key: "1", Dest: "qa"},
		binding{Source: "b", Key: "1", Dest: "qb"},
		binding{Source: "b", Key: "2", Dest: "qb"},
		binding{Source: "c", Key: "3", Dest: "qc"},
		binding{Source: "all", Dest: "qall"},
		binding{Source: "hub", ToExchange: "lost"},
	)
	for _, c := range []struct {
		exchange, key string
		want          []string
	}{
		{"a", "1", []string{"qa"}},
		{"a", "2", []string{"qb"}},
		{"a", "3", []string{"qc"}},
		{"a", "4", nil},
		{"lost", "1", nil},
		{"hub", "1", nil}, // a binding to an exchange is a match, whatever comes of it
	} {
		if got := match(t, table, c.exchange, c.key, nil); !slices.Equal(got, c.want) {
			t.Errorf("match %q on %q = %v, want %v", c.key, c.exchange, got, c.want)
		}
	}
}

func TestMatchHeaders(t *testing.T) {
	when := time.Unix(1, 0)
	for _, c := range []struct {
		name    string
		args    args
		headers args
		want    bool
	}{
		{"all by default", args{"a": "1", "b": "2"}, args{"a": "1", "b": "2", "c": "3"}, true},
		{"all, one missing", args{"a": "1", "b": "2"}, args{"a": "1"}, false},
		{"any, one there", args{"x-match": "any", "a": "1", "b": "2"}, args{"b": "2"}, true},
		{"any, wrong value", args{"x-match": "any", "a": "1"}, args{"a": "2"}, false},
		{"all of nothing", nil, nil, true},
		{"any of nothing", args{"x-match": "any"}, args{"a": "1"}, false},
		{"void is presence", args{"a": nil}, args{"a": "whatever"}, true},
		{"void, absent", args{"a": nil}, nil, false},
		{"integer widths", args{"a": int8(5)}, args{"a": int64(5)}, true},
		{"unsigned", args{"a": int64(5)}, args{"a": uint8(5)}, true},
		{"negative is not large", args{"a": int64(-1)}, args{"a": ^uint64(0)}, false},
		{"integer is no string", args{"a": int64(5)}, args{"a": "5"}, false},
		{"integer is no float", args{"a": int64(5)}, args{"a": 5.0}, false},
		{"arrays", args{"a": []any{int8(1), "x"}}, args{"a": []any{int32(1), "x"}}, true},
		{"tables", args{"a": args{"k": int8(1)}}, args{"a": args{"k": int16(1)}}, true},
		{"bytes", args{"a": []byte("x")}, args{"a": []byte("x")}, true},
		{"times", args{"a": when}, args{"a": when}, true},
		{"x- ignored by all", args{"x-a": "1", "b": "2"}, args{"b": "2"}, true},
		{"x- ignored by any", args{"x-match": "any", "x-a": "1"}, args{"x-a": "1"}, false},
		{"all-with-x", args{"x-match": "all-with-x", "x-a": "1", "b": "2"}, args{"b": "2"}, false},
		{"any-with-x", args{"x-match": "any-with-x", "x-a": "1"}, args{"x-a": "1"}, true},
	} {
		table := graph(t, nil, binding{Source: "amq.headers", Args: c.args, Dest: "q"})
		if got := match(t, table, "amq.headers", "any key", c.headers); (len(got) == 1) != c.want {
			t.Errorf("%s: match = %v, want %v", c.name, got, c.want)
		}
	}
	table := graph(t, nil, binding{Source: "amq.headers", Args: args{"a": nil}, Dest: "q"})
	if got, _, _ := table.Match("amq.headers", nil, nil, nil); got != nil {
		t.Errorf("match without headers = %v, want none", got)
	}
}

// TestMatchManyTimesTheSame binds more destinations more often than fit beside the match.
func TestMatchManyTimesTheSame(t *testing.T) {
	table := route.New[int]()
	const dests = 100
	for i := range dests {
		table.BindFilter("a/+", i)
		table.BindFilter("a/#", i)
		table.Bind(route.Binding[int]{Source: "amq.topic", Key: "a.b", Dest: i})
	}
	got, _, err := table.Match("amq.topic", []byte("a.b"), nil, nil)
	slices.Sort(got)
	if err != nil || len(got) != dests || len(slices.Compact(got)) != dests {
		t.Errorf("%d destinations, %v, want %d different ones", len(got), err, dests)
	}
}

func TestMatchConcurrently(t *testing.T) {
	table := graph(t, nil, binding{Source: "amq.topic", Key: "#.b.#", Dest: "q1"}, binding{Source: "amq.topic", Key: "a.*", ToExchange: "amq.fanout"},
		binding{Source: "amq.fanout", Dest: "q2"})
	table.BindFilter("+/b", "q3")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				got, _, err := table.Match("amq.topic", []byte("a.b"), nil, nil)
				if err != nil || len(got) != 3 {
					t.Errorf("Match = %v, %v, want 3 destinations", got, err)
				}
			}
		})
	}
	wg.Wait()
}
