package route_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/route"
)

// spread binds queues with weights to an exchange of the type, in order.
func spread(t *testing.T, x route.Exchange, bindings ...[2]string) *route.Table[string] {
	t.Helper()
	x.Name = "x"
	table := graph(t, []route.Exchange{x})
	for _, b := range bindings {
		if !table.Bind(binding{Source: "x", Dest: b[0], DestName: b[0], Key: b[1]}) {
			t.Fatalf("binding %v was refused", b)
		}
	}
	return table
}

// chosen returns where a publish goes, which must be one destination.
func chosen(t testing.TB, table *route.Table[string], p route.Publish) string {
	t.Helper()
	p.Exchange = "x"
	got, _, err := table.Route(&p, nil)
	if err != nil || len(got) != 1 {
		t.Fatalf("Route(%q): got %v, %v, want one destination", p.Key, got, err)
	}
	return got[0]
}

func keys(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = fmt.Appendf(nil, "device/%d/state", i)
	}
	return list
}

func assign(t testing.TB, table *route.Table[string], keys [][]byte) []string {
	t.Helper()
	list := make([]string, len(keys))
	for i, key := range keys {
		list[i] = chosen(t, table, route.Publish{Key: key})
	}
	return list
}

// TestConsistentHashShares checks that each destination gets its weight's share.
func TestConsistentHashShares(t *testing.T) {
	const n = 60_000
	weights := [][2]string{{"a", "1"}, {"b", "1"}, {"c", "2"}, {"d", "5"}, {"e", "1"}}
	table := spread(t, route.Exchange{Type: route.ConsistentHash}, weights...)
	got := map[string]int{}
	for _, q := range assign(t, table, keys(n)) {
		got[q]++
	}
	for _, w := range weights {
		weight, _ := strconv.Atoi(w[1])
		want := float64(n) * float64(weight) / 10
		if off := math.Abs(float64(got[w[0]])-want) / want; off > 0.04 {
			t.Errorf("queue %s of weight %s: got %d of %d messages, want about %.0f", w[0], w[1], got[w[0]], n, want)
		}
	}
}

// TestConsistentHashMovesLittle adds and removes destinations: only the keys that
// come to a new one, or were on one that left, change their place.
func TestConsistentHashMovesLittle(t *testing.T) {
	all := keys(20_000)
	table := spread(t, route.Exchange{Type: route.ConsistentHash}, [2]string{"a", "2"}, [2]string{"b", "1"}, [2]string{"c", "1"})
	before := assign(t, table, all)
	joined := binding{Source: "x", Dest: "n", DestName: "n", Key: "1"}
	table.Bind(joined)
	moved := 0
	for i, q := range assign(t, table, all) {
		if q == before[i] {
			continue
		}
		moved++
		if q != "n" {
			t.Fatalf("key %s moved from %s to %s", all[i], before[i], q)
		}
	}
	if want := len(all) / 5; moved < want*9/10 || moved > want*11/10 {
		t.Errorf("%d of %d keys moved, want about %d", moved, len(all), want)
	}
	table.Unbind(joined)
	if diff := cmp.Diff(before, assign(t, table, all)); diff != "" {
		t.Error("the keys did not come back to where they were")
	}
	table.RemoveDest("b")
	for i, q := range assign(t, table, all) {
		if q != before[i] && before[i] != "b" {
			t.Fatalf("key %s moved from %s to %s", all[i], before[i], q)
		}
	}
}

// TestChoiceDoesNotDependOnOrder binds in another order, as a restart may.
func TestChoiceDoesNotDependOnOrder(t *testing.T) {
	for _, typ := range []string{route.ConsistentHash, route.ModulusHash, route.Random} {
		list := [][2]string{{"q1", "3"}, {"q2", "1"}, {"q3", "2"}, {"q4", "1"}}
		one := spread(t, route.Exchange{Type: typ}, list...)
		slices.Reverse(list)
		other := spread(t, route.Exchange{Type: typ}, list...)
		for i, key := range keys(200) {
			p := route.Publish{Key: key, Chance: uint64(i)}
			if a, b := chosen(t, one, p), chosen(t, other, p); a != b {
				t.Fatalf("%s: key %s goes to %s and to %s", typ, key, a, b)
			}
		}
	}
}

// TestChoicesStay pins assignments: a change of the hash would move the keys of
// everybody who upgrades.
func TestChoicesStay(t *testing.T) {
	list := [][2]string{{"q1", "1"}, {"q2", "2"}, {"q3", "3"}}
	got := map[string][]string{}
	for _, typ := range []string{route.ConsistentHash, route.ModulusHash} {
		got[typ] = assign(t, spread(t, route.Exchange{Type: typ}, list...), keys(8))
	}
	want := map[string][]string{
		route.ConsistentHash: {"q1", "q3", "q3", "q1", "q3", "q3", "q2", "q3"},
		route.ModulusHash:    {"q1", "q2", "q1", "q1", "q3", "q3", "q2", "q2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("assignments (-want +got):\n%s", diff)
	}
}

// TestHashOfHeadersAndProperties goes by something else than the routing key.
func TestHashOfHeadersAndProperties(t *testing.T) {
	list := [][2]string{{"q1", "1"}, {"q2", "1"}, {"q3", "1"}}
	values := func(v any) route.HeaderFunc {
		return func(name string) (any, bool) { return v, name == "id" || name == "message_id" }
	}
	for _, tc := range []struct {
		args map[string]any
		with func(v any) route.Publish
	}{
		{args{route.HashHeader: "id"}, func(v any) route.Publish { return route.Publish{Headers: values(v)} }},
		{args{route.HashProperty: "message_id"}, func(v any) route.Publish { return route.Publish{Property: values(v)} }},
	} {
		table := spread(t, route.Exchange{Type: route.ConsistentHash, Args: tc.args}, list...)
		seen := map[string]bool{}
		for i := range 100 {
			p := tc.with(strconv.Itoa(i))
			p.Key = []byte("k" + strconv.Itoa(i%7))
			q := chosen(t, table, p)
			seen[q] = true
			p.Key = []byte("other")
			if again := chosen(t, table, p); again != q {
				t.Fatalf("%v: value %d goes to %s and to %s", tc.args, i, q, again)
			}
		}
		if len(seen) != len(list) {
			t.Errorf("%v: 100 values reached %v", tc.args, seen)
		}
		if _, result, _ := table.Route(&route.Publish{Exchange: "x"}, nil); !result.PerMessage {
			t.Errorf("%v: the route would be cached", tc.args)
		}
		for _, pair := range [][2]any{{int8(5), int64(5)}, {"5", 5}, {[]byte("a"), "a"}, {time.Unix(5, 0), "5"}} {
			if a, b := chosen(t, table, tc.with(pair[0])), chosen(t, table, tc.with(pair[1])); a != b {
				t.Errorf("%v: %v goes to %s and %v to %s", tc.args, pair[0], a, pair[1], b)
			}
		}
	}
}

// TestChanceReachesAll checks the two random types.
func TestChanceReachesAll(t *testing.T) {
	for _, typ := range []string{route.Random, route.LocalRandom} {
		table := spread(t, route.Exchange{Type: typ}, [2]string{"q1", ""}, [2]string{"q2", ""}, [2]string{"q3", ""})
		got := map[string]int{}
		const n = 3000
		for i := range uint64(n) {
			got[chosen(t, table, route.Publish{Key: []byte("any"), Chance: i})]++
		}
		for q, count := range got {
			if count < n/3*9/10 {
				t.Errorf("%s: %s got %d of %d", typ, q, count, n)
			}
		}
		if len(got) != 3 {
			t.Errorf("%s: reached %v", typ, got)
		}
		if _, result, _ := table.Match("x", nil, nil, nil); !result.PerMessage {
			t.Errorf("%s: the route would be cached", typ)
		}
	}
}

// TestSecondBindingChangesNothing binds a queue twice: the first weight counts, and
// the queue stays until its last binding goes.
func TestSecondBindingChangesNothing(t *testing.T) {
	all := keys(2000)
	table := spread(t, route.Exchange{Type: route.ConsistentHash, AutoDelete: true}, [2]string{"a", "1"}, [2]string{"b", "3"})
	before := assign(t, table, all)
	table.Bind(binding{Source: "x", Dest: "a", DestName: "a", Key: "100"})
	if diff := cmp.Diff(before, assign(t, table, all)); diff != "" {
		t.Error("a second binding of a queue moved keys")
	}
	table.Unbind(binding{Source: "x", Dest: "a", Key: "1"})
	got := map[string]int{}
	for _, q := range assign(t, table, all) {
		got[q]++
	}
	if got["a"] < 1800 {
		t.Errorf("the weight of the binding that is left does not count: %v", got)
	}
	table.Unbind(binding{Source: "x", Dest: "a", Key: "100"})
	if _, gone := table.Unbind(binding{Source: "x", Dest: "b", Key: "3"}); !slices.Equal(gone, []string{"x"}) {
		t.Errorf("auto-delete with the last binding: got %v", gone)
	}
	if got, _, err := table.Match("x", nil, nil, nil); len(got) > 0 || err != nil {
		t.Errorf("without bindings: got %v, %v", got, err)
	}
}

// TestChoosingAmongExchanges binds exchanges of all types behind choosing ones.
func TestChoosingAmongExchanges(t *testing.T) {
	table := graph(t, []route.Exchange{
		{Name: "x", Type: route.ConsistentHash},
		{Name: "mod", Type: route.ModulusHash},
		{Name: "random", Type: route.Random, Alternate: "lost"},
		{Name: "lost", Type: route.Fanout},
	},
		binding{Source: "x", ToExchange: "mod", Key: "1"},
		binding{Source: "mod", ToExchange: "random"},
		binding{Source: "lost", Dest: "q", DestName: "q"},
	)
	if got := match(t, table, "x", "k", nil); !slices.Equal(got, []string{"q"}) {
		t.Errorf("through four exchanges: got %v", got)
	}
	table.Bind(binding{Source: "random", ToExchange: "x", Key: "1"}) // a cycle
	if got := match(t, table, "x", "k", nil); len(got) != 0 {
		t.Errorf("cycle: got %v, want nothing", got)
	}
	table.RemoveExchange("mod")
	if got := match(t, table, "x", "k", nil); len(got) != 0 {
		t.Errorf("after the only destination was deleted: got %v", got)
	}
}

// TestRefusedChoices checks the words of refusals.
func TestRefusedChoices(t *testing.T) {
	table := graph(t, []route.Exchange{{Name: "hash", Type: route.ConsistentHash}, {Name: "local", Type: route.LocalRandom}})
	for _, tc := range []struct {
		b    binding
		want string
	}{
		{binding{Source: "hash", Key: "many"}, `The binding key must be an integer: <<"many">>`},
		{binding{Source: "hash", Key: ""}, `The binding key must be an integer: <<"">>`},
		{binding{Source: "hash", Key: "0"}, `The binding key must be greater than 0`},
		{binding{Source: "hash", Key: "-3"}, `The binding key must be greater than 0`},
		{binding{Source: "local", Key: "k"}, `Non empty binding 'k' key not permitted`},
		{binding{Source: "local", ToExchange: "hash"}, `Destination not found`},
		{
			binding{Source: "amq.headers", Args: args{"x-match": "some"}},
			`Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x`,
		},
		{
			binding{Source: "amq.headers", Args: args{"x-match": 5}},
			`Invalid x-match field type signedint (value 5); expected longstr`,
		},
	} {
		err := table.Check(tc.b)
		if err == nil || err.Error() != tc.want || !errors.Is(err, route.ErrInvalid) {
			t.Errorf("Check(%+v): got %v, want %q", tc.b, err, tc.want)
		}
		if table.Bind(tc.b) {
			t.Errorf("Bind(%+v) was accepted", tc.b)
		}
	}
}

// TestManyKeys routes by several keys at once.
func TestManyKeys(t *testing.T) {
	table := graph(t, []route.Exchange{
		{Name: "d", Type: route.Direct, Alternate: "lost"},
		{Name: "lost", Type: route.Fanout},
	},
		binding{Source: "d", Key: "a", Dest: "qa"},
		binding{Source: "d", Key: "b", Dest: "qb"},
		binding{Source: "d", Key: "b", Dest: "qa"},
		binding{Source: "lost", Dest: "ql"},
		binding{Source: "amq.topic", Key: "#", Dest: "all"},
		binding{Source: "amq.topic", Key: "*.x", Dest: "x"},
	)
	table.AddQueue("qa", "qa")
	table.AddQueue("qb", "qb")
	for _, tc := range []struct {
		exchange string
		keys     []string
		want     []string
	}{
		{"d", []string{"none", "b"}, []string{"qa", "qb"}},
		{"d", []string{"a", "a", "b"}, []string{"qa", "qb"}},
		{"d", []string{"none", "neither"}, []string{"ql"}},
		{"amq.topic", []string{"k", "1.x", "2.x"}, []string{"all", "x"}},
		{"", []string{"qa", "qb", "qa", "none"}, []string{"qa", "qb"}},
	} {
		p := route.Publish{Exchange: tc.exchange, Key: []byte(tc.keys[0])}
		for _, k := range tc.keys[1:] {
			p.More = append(p.More, []byte(k))
		}
		got, _, err := table.Route(&p, nil)
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("Route(%q, %v): %v (-want +got):\n%s", tc.exchange, tc.keys, err, diff)
		}
	}
}

// TestChoosingDoesNotAllocate measures a route over many destinations.
func TestChoosingDoesNotAllocate(t *testing.T) {
	for _, typ := range []string{route.ConsistentHash, route.ModulusHash, route.Random} {
		var list [][2]string
		for i := range 50 {
			list = append(list, [2]string{fmt.Sprintf("queue %d", i), "3"})
		}
		table := spread(t, route.Exchange{Type: typ}, list...)
		p := route.Publish{Exchange: "x", Key: []byte("some key")}
		dst := make([]string, 0, 4)
		if n := testing.AllocsPerRun(100, func() { _, _, _ = table.Route(&p, dst) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", typ, n)
		}
	}
}
