package route_test

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidegate/tidegate/core/route"
)

// The matchers here split everything and try everything. They share no code with the
// package and decide what is right.

// bruteKey tells whether an AMQP binding key matches a routing key.
func bruteKey(pattern, key string) bool {
	return bruteWords(bruteSplit(pattern), bruteSplit(key))
}

func bruteSplit(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// bruteWords fills a table: ok[i][j] says that the pattern from i on matches the words
// from j on.
func bruteWords(pattern, words []string) bool {
	ok := make([][]bool, len(pattern)+1)
	for i := len(pattern); i >= 0; i-- {
		ok[i] = make([]bool, len(words)+1)
		for j := len(words); j >= 0; j-- {
			switch {
			case i == len(pattern):
				ok[i][j] = j == len(words)
			case pattern[i] == "#":
				ok[i][j] = ok[i+1][j] || j < len(words) && ok[i][j+1]
			case j == len(words):
			default:
				ok[i][j] = (pattern[i] == "*" || pattern[i] == words[j]) && ok[i+1][j+1]
			}
		}
	}
	return ok[0][0]
}

// bruteFilter tells whether an MQTT filter matches a topic.
func bruteFilter(filter, topic string) bool {
	if topic == "" || strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic) ||
		len(topic) > 65_535 || strings.Count(topic, "/") > 127 {
		return false
	}
	if strings.HasPrefix(topic, "$") && strings.ContainsAny(filter[:1], "+#") {
		return false
	}
	want, have := strings.Split(filter, "/"), strings.Split(topic, "/")
	if n := len(want) - 1; want[n] == "#" {
		if len(have) < n {
			return false
		}
		want, have = want[:n], have[:n]
	}
	return slices.EqualFunc(want, have, func(w, h string) bool { return w == "+" || w == h })
}

// swap is route.SwapTopic for strings.
func swap(s string) string {
	return strings.NewReplacer(".", "/", "/", ".").Replace(s)
}

// model is the routing graph as plain lists.
type model struct {
	exchanges map[string]route.Exchange
	bindings  []route.Binding[int]
	filters   []modelFilter
	queues    map[string]int
}

type modelFilter struct {
	filter string
	dest   int
}

func newModel() *model {
	m := &model{exchanges: make(map[string]route.Exchange), queues: make(map[string]int)}
	for x := range route.New[int]().Exchanges() {
		m.exchanges[x.Name] = x
	}
	return m
}

// match returns the destinations in ascending order.
func (m *model) match(exchange, key string) (dests []int) {
	found := make(map[int]bool)
	queue := []string{exchange}
	for i := 0; i < len(queue); i++ {
		x, ok := m.exchanges[queue[i]]
		if !ok || slices.Contains(queue[:i], queue[i]) {
			continue
		}
		hit := false
		if d, ok := m.queues[key]; ok && x.Name == "" {
			found[d], hit = true, true
		}
		for _, b := range m.bindings {
			if b.Source != x.Name || !m.bindingMatches(x.Type, b, key) {
				continue
			}
			hit = true
			if b.ToExchange != "" {
				queue = append(queue, b.ToExchange)
			} else {
				found[b.Dest] = true
			}
		}
		for _, f := range m.filters {
			if x.Name == route.TopicExchange && bruteFilter(f.filter, swap(key)) {
				found[f.dest], hit = true, true
			}
		}
		if !hit && x.Alternate != "" {
			queue = append(queue, x.Alternate)
		}
	}
	for d := range found {
		dests = append(dests, d)
	}
	slices.Sort(dests)
	return dests
}

func (m *model) bindingMatches(typ string, b route.Binding[int], key string) bool {
	switch typ {
	case route.Direct:
		return b.Key == key
	case route.Topic:
		return bruteKey(b.Key, key)
	case route.Headers:
		return b.Args["x-match"] != "any" // no headers: all of nothing, or any of nothing
	default:
		return true
	}
}

// autoDeleted returns which of the sources are auto-delete exchanges without bindings.
func (m *model) autoDeleted(sources []string) (names []string) {
	slices.Sort(sources)
	for _, name := range slices.Compact(sources) {
		if x, ok := m.exchanges[name]; ok && x.AutoDelete && !m.bound(name) {
			names = append(names, name)
		}
	}
	return names
}

func (m *model) bound(source string) bool {
	return slices.ContainsFunc(m.bindings, func(b route.Binding[int]) bool { return b.Source == source })
}

// remove takes out the bindings for which drop says so and returns their sources.
func (m *model) remove(drop func(route.Binding[int]) bool) (sources []string) {
	m.bindings = slices.DeleteFunc(m.bindings, func(b route.Binding[int]) bool {
		if drop(b) {
			sources = append(sources, b.Source)
		}
		return drop(b)
	})
	return sources
}
