package route_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/route"
)

var (
	exchangeNames = []string{"", "amq.direct", "amq.fanout", "amq.topic", "amq.match", "t1", "t2", "f1", "d1", "h1"}
	bindingWords  = []string{"a", "b", "", "*", "#", "#", "+", "$s", "a/b", "c"}
	filterLevels  = []string{"a", "b", "", "+", "+", "*", "$s", "a.b", "c"}
	keyWords      = []string{"a", "a", "b", "", "*", "$s", "a/b", "c", "d"}
	oddKeyWords   = []string{"+", "#", "a\x00", "\xff"}
)

func genWords(words []string, sep string, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, most).Draw(t, "words"), sep)
	})
}

func genKey() *rapid.Generator[string] {
	return rapid.OneOf(
		genWords(keyWords, ".", 8), genWords(keyWords, ".", 8), genWords(keyWords, ".", 8),
		genWords(append(oddKeyWords, keyWords...), ".", 4),
	)
}

func genFilter() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		filter := genWords(filterLevels, "/", 5).Draw(t, "levels")
		if rapid.Bool().Draw(t, "hash") {
			if filter != "" || rapid.Bool().Draw(t, "slash") {
				filter += "/"
			}
			filter += "#"
		}
		return filter
	})
}

func genBinding() *rapid.Generator[route.Binding[int]] {
	return rapid.Custom(func(t *rapid.T) route.Binding[int] {
		b := route.Binding[int]{
			Source: rapid.SampledFrom(exchangeNames[1:]).Draw(t, "source"),
			Key:    genWords(bindingWords, ".", 6).Draw(t, "key"),
		}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			b.ToExchange = rapid.SampledFrom(exchangeNames[1:]).Draw(t, "target")
		case 1:
			b.Args = map[string]any{"x-match": rapid.SampledFrom([]string{"any", "all"}).Draw(t, "x-match")}
			fallthrough
		default:
			b.Dest = rapid.IntRange(1, 6).Draw(t, "dest")
		}
		return b
	})
}

// pair is a table and what it should be.
type pair struct {
	table *route.Table[int]
	model *model
}

func (p *pair) addExchange(t *rapid.T) {
	name := rapid.SampledFrom(exchangeNames[5:]).Draw(t, "name")
	types := map[byte]string{'t': route.Topic, 'f': route.Fanout, 'd': route.Direct, 'h': route.Headers}
	x := route.Exchange{
		Name: name, Type: types[name[0]],
		AutoDelete: rapid.Bool().Draw(t, "auto"),
		Alternate:  rapid.SampledFrom(append([]string{"missing"}, exchangeNames...)).Draw(t, "alternate"),
	}
	if err := p.table.AddExchange(x); err != nil {
		t.Fatalf("AddExchange(%v): %v", x, err)
	}
	p.model.exchanges[name] = x
}

func (p *pair) removeExchange(t *rapid.T) {
	name := rapid.SampledFrom(exchangeNames).Draw(t, "name")
	got := p.table.RemoveExchange(name)
	var want []string
	if name != "" && !strings.HasPrefix(name, "amq.") {
		delete(p.model.exchanges, name)
		want = p.model.autoDeleted(p.model.remove(func(b route.Binding[int]) bool {
			return b.Source == name || b.ToExchange == name
		}))
	}
	sameSet(t, "RemoveExchange", got, want)
}

func (p *pair) bind(t *rapid.T) {
	b := genBinding().Draw(t, "binding")
	_, source := p.model.exchanges[b.Source]
	_, target := p.model.exchanges[b.ToExchange]
	want := source && target && !p.has(b)
	if got := p.table.Bind(b); got != want {
		t.Fatalf("Bind(%+v) = %v, want %v", b, got, want)
	}
	if want {
		p.model.bindings = append(p.model.bindings, b)
	}
}

func (p *pair) has(b route.Binding[int]) bool {
	return slices.ContainsFunc(p.model.bindings, func(o route.Binding[int]) bool { return reflect.DeepEqual(b, o) })
}

func (p *pair) unbind(t *rapid.T) {
	b := genBinding().Draw(t, "binding")
	if n := len(p.model.bindings); n > 0 && rapid.IntRange(0, 9).Draw(t, "existing") > 0 {
		b = p.model.bindings[rapid.IntRange(0, n-1).Draw(t, "index")]
	}
	want := p.has(b)
	got, autoDeleted := p.table.Unbind(b)
	if got != want {
		t.Fatalf("Unbind(%+v) = %v, want %v", b, got, want)
	}
	sources := p.model.remove(func(o route.Binding[int]) bool { return reflect.DeepEqual(b, o) })
	sameSet(t, "Unbind", autoDeleted, p.model.autoDeleted(sources))
}

func (p *pair) bindFilter(t *rapid.T) {
	f := modelFilter{genFilter().Draw(t, "filter"), rapid.IntRange(1, 6).Draw(t, "dest")}
	want := f.filter != "" && !slices.Contains(p.model.filters, f)
	if got := p.table.BindFilter(f.filter, f.dest); got != want {
		t.Fatalf("BindFilter(%q, %d) = %v, want %v", f.filter, f.dest, got, want)
	}
	if want {
		p.model.filters = append(p.model.filters, f)
	}
}

func (p *pair) unbindFilter(t *rapid.T) {
	f := modelFilter{genFilter().Draw(t, "filter"), rapid.IntRange(1, 6).Draw(t, "dest")}
	if n := len(p.model.filters); n > 0 && rapid.IntRange(0, 9).Draw(t, "existing") > 0 {
		f = p.model.filters[rapid.IntRange(0, n-1).Draw(t, "index")]
	}
	want := slices.Contains(p.model.filters, f)
	if got := p.table.UnbindFilter(f.filter, f.dest); got != want {
		t.Fatalf("UnbindFilter(%q, %d) = %v, want %v", f.filter, f.dest, got, want)
	}
	p.model.filters = slices.DeleteFunc(p.model.filters, func(o modelFilter) bool { return o == f })
}

func (p *pair) queue(t *rapid.T) {
	name := genKey().Draw(t, "name")
	if rapid.Bool().Draw(t, "add") {
		d := rapid.IntRange(1, 6).Draw(t, "dest")
		p.table.AddQueue(name, d)
		p.model.queues[name] = d
		return
	}
	p.table.RemoveQueue(name)
	delete(p.model.queues, name)
}

func (p *pair) removeDest(t *rapid.T) {
	d := rapid.IntRange(1, 6).Draw(t, "dest")
	got := p.table.RemoveDest(d)
	sources := p.model.remove(func(b route.Binding[int]) bool { return b.ToExchange == "" && b.Dest == d })
	p.model.filters = slices.DeleteFunc(p.model.filters, func(f modelFilter) bool { return f.dest == d })
	sameSet(t, "RemoveDest", got, p.model.autoDeleted(sources))
}

func (p *pair) match(t *rapid.T) {
	exchange := rapid.SampledFrom(exchangeNames).Draw(t, "exchange")
	key := genKey().Draw(t, "key")
	if _, ok := p.model.exchanges[exchange]; !ok {
		return
	}
	got, _, err := p.table.Match(exchange, []byte(key), nil, nil)
	if err != nil {
		t.Fatalf("Match(%q, %q): %v", exchange, key, err)
	}
	sameSet(t, "Match", got, p.model.match(exchange, key))
}

// check compares what both say about themselves.
func (p *pair) check(t *rapid.T) {
	if _, entries := p.table.Size(); entries != len(p.model.bindings)+len(p.model.filters) {
		t.Fatalf("table has %d entries, want %d", entries, len(p.model.bindings)+len(p.model.filters))
	}
	for name := range p.model.exchanges {
		var want []route.Binding[int]
		for _, b := range p.model.bindings {
			if b.Source == name {
				want = append(want, b)
			}
		}
		if diff := cmp.Diff(want, slices.Collect(p.table.Bindings(name))); diff != "" {
			t.Fatalf("Bindings(%q) (-want +got):\n%s", name, diff)
		}
		if got := p.table.HasBindingsFrom(name); got != (len(want) > 0) {
			t.Fatalf("HasBindingsFrom(%q) = %v", name, got)
		}
	}
}

// sameSet fails unless got has each element of want once, in any order.
func sameSet[T int | string](t *rapid.T, what string, got, want []T) {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%s = %v, want %v", what, got, want)
	}
}

// TestModel drives a table and plain lists with the same calls, and compares.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{table: route.New[int](), model: newModel()}
		p.addExchange(t)
		t.Repeat(map[string]func(*rapid.T){
			"":               p.check,
			"addExchange":    p.addExchange,
			"removeExchange": p.removeExchange,
			"bind1":          p.bind,
			"bind2":          p.bind,
			"bind3":          p.bind,
			"unbind":         p.unbind,
			"bindFilter1":    p.bindFilter,
			"bindFilter2":    p.bindFilter,
			"unbindFilter":   p.unbindFilter,
			"queue":          p.queue,
			"removeDest":     p.removeDest,
			"match1":         p.match,
			"match2":         p.match,
			"match3":         p.match,
			"match4":         p.match,
		})
		p.empty(t)
	})
}

// empty removes everything and looks for what is left.
func (p *pair) empty(t *rapid.T) {
	for d := range 7 {
		p.table.RemoveDest(d)
	}
	for _, name := range slices.Sorted(maps.Keys(p.model.exchanges)) {
		p.table.RemoveExchange(name)
		for _, b := range slices.Collect(p.table.Bindings(name)) { // predeclared ones stay
			p.table.Unbind(b)
		}
	}
	nodes, entries := p.table.Size()
	if roots := 2; nodes != roots || entries != 0 || p.table.Edges() != 0 {
		t.Fatalf("emptied table has %d nodes, %d entries, %d edges, want %d, 0, 0", nodes, entries, p.table.Edges(), roots)
	}
}

// TestMatchDifferential compares tables of many keys and filters in both syntaxes with
// trying each of them.
func TestMatchDifferential(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, m := route.New[int](), newModel()
		keys := rapid.SliceOfN(genWords(bindingWords, ".", 7), 0, 60).Draw(t, "keys")
		for i, key := range keys {
			b := route.Binding[int]{Source: route.TopicExchange, Key: key, Dest: i}
			table.Bind(b)
			m.bindings = append(m.bindings, b)
		}
		for i, filter := range rapid.SliceOfN(genFilter(), 0, 60).Draw(t, "filters") {
			if table.BindFilter(filter, 1000+i) {
				m.filters = append(m.filters, modelFilter{filter, 1000 + i})
			}
		}
		for range 20 {
			key := genKey().Draw(t, "key")
			got, _, err := table.Match(route.TopicExchange, []byte(key), nil, nil)
			if err != nil {
				t.Fatalf("Match(%q): %v", key, err)
			}
			sameSet(t, "Match "+key, got, m.match(route.TopicExchange, key))
		}
	})
}

// TestMatchLongKeys is the same with keys up to the limit of words and with many '#'.
func TestMatchLongKeys(t *testing.T) {
	genLong := rapid.Custom(func(t *rapid.T) string {
		n := rapid.SampledFrom([]int{60, 63, 64, 65, 127, 128, 129, 200, 255, 256}).Draw(t, "n")
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "a", "b"}), n, n).Draw(t, "words"), ".")
	})
	genPattern := rapid.Custom(func(t *rapid.T) string {
		parts := []string{"#"}
		for range rapid.IntRange(1, 3).Draw(t, "parts") { // at most 193 words: Bind takes them all
			n := rapid.SampledFrom([]int{1, 2, 3, 30, 60, 63}).Draw(t, "n")
			word := rapid.SampledFrom([]string{"a", "*", "*"}).Draw(t, "word")
			parts = append(parts, slices.Repeat([]string{word}, n)...)
			parts = append(parts, rapid.SampledFrom([]string{"#", "b", "a", "*"}).Draw(t, "word"))
		}
		return strings.Join(parts[rapid.IntRange(0, 1).Draw(t, "first"):], ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		table, m := route.New[int](), newModel()
		for i, key := range rapid.SliceOfN(genPattern, 1, 20).Draw(t, "patterns") {
			b := route.Binding[int]{Source: route.TopicExchange, Key: key, Dest: i}
			if !table.Bind(b) {
				t.Fatalf("Bind(%q) = false", key)
			}
			m.bindings = append(m.bindings, b)
		}
		for range 5 {
			key := genLong.Draw(t, "key")
			got, _, err := table.Match(route.TopicExchange, []byte(key), nil, nil)
			if err != nil {
				t.Fatalf("Match(%q): %v", key, err)
			}
			sameSet(t, "Match "+key, got, m.match(route.TopicExchange, key))
		}
	})
}

// TestMatchFilterDifferential compares the single check with the slow one.
func TestMatchFilterDifferential(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		filter, topic := genFilter().Draw(t, "filter"), swap(genKey().Draw(t, "key"))
		if filter == "" || topic == "" || strings.Contains(topic, "\xff") {
			return
		}
		if got, want := route.MatchFilter(filter, topic), bruteFilter(filter, topic); got != want {
			t.Fatalf("MatchFilter(%q, %q) = %v, want %v", filter, topic, got, want)
		}
	})
}
