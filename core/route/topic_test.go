package route_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core/route"
)

func TestSwapTopic(t *testing.T) {
	for topic, key := range map[string]string{
		"":               "",
		"a/b":            "a.b",
		"a.b/c":          "a/b.c",
		"/":              ".",
		"$SYS/x":         "$SYS.x",
		"mag/4.5/köln":   "mag.4/5.köln",
		"*/literal":      "*.literal",
		"no separators!": "no separators!",
	} {
		if got := string(route.SwapTopic(nil, []byte(topic))); got != key {
			t.Errorf("SwapTopic(%q) = %q, want %q", topic, got, key)
		}
		back := []byte(key)
		if got := string(route.SwapTopic(back[:0], back)); got != topic {
			t.Errorf("SwapTopic in place (%q) = %q, want %q", key, got, topic)
		}
	}
	if got := string(route.SwapTopic([]byte("x"), []byte("/"))); got != "x." {
		t.Errorf("SwapTopic appends: got %q, want %q", got, "x.")
	}
}

func TestValidTopic(t *testing.T) {
	for _, topic := range []string{
		"a", "/", "a/b", "a//b", "$SYS/x", "a b", "é/ü", "*", strings.Repeat("/", 127), strings.Repeat("x", 65_535),
	} {
		if err := route.ValidTopic([]byte(topic)); err != nil {
			t.Errorf("ValidTopic(%.20q): %v", topic, err)
		}
	}
	for _, topic := range []string{
		"", "+", "a/#", "a+b", "a\x00b", "\xff", "\xed\xa0\x80", strings.Repeat("/", 128), strings.Repeat("x", 65_536),
	} {
		if err := route.ValidTopic([]byte(topic)); !errors.Is(err, route.ErrInvalid) {
			t.Errorf("ValidTopic(%.20q) = %v, want ErrInvalid", topic, err)
		}
	}
}

func TestValidFilter(t *testing.T) {
	for _, filter := range []string{
		"a", "/", "#", "+", "a/#", "+/+", "/#", "/+", "+/", "a/+/b/#", "$SYS/#", "*", "a.b",
		strings.Repeat("/", 127), strings.Repeat("+/", 127) + "#",
	} {
		if err := route.ValidFilter(filter); err != nil {
			t.Errorf("ValidFilter(%.20q): %v", filter, err)
		}
	}
	for _, filter := range []string{
		"", "a#", "a/b#", "#/a", "#/", "##", "a/#/b", "a+", "+a", "++", "a/b+/c", "+#", "a\x00", "\xff", "a/\xed\xa0\x80",
		strings.Repeat("/", 128), strings.Repeat("x", 65_536),
	} {
		if err := route.ValidFilter(filter); !errors.Is(err, route.ErrInvalid) {
			t.Errorf("ValidFilter(%.20q) = %v, want ErrInvalid", filter, err)
		}
	}
}

// filterCases are filters, topics and whether the one matches the other.
var filterCases = []struct {
	filter, topic string
	want          bool
}{
	{"a/b", "a/b", true},
	{"a/b", "a/b/", false},
	{"a/b", "A/b", false},
	{"a/#", "a", true},
	{"a/#", "a/", true},
	{"a/#", "a/b/c", true},
	{"a/#", "ab", false},
	{"a/+/#", "a", false},
	{"a/+/#", "a/b", true},
	{"#", "a/b", true},
	{"#", "/", true},
	{"+", "a", true},
	{"+", "/a", false},
	{"+/+", "/a", true},
	{"/+", "/a", true},
	{"/#", "/", true},
	{"/#", "a", false},
	{"+/b", "a/b", true},
	{"a/+", "a", false},
	{"a/+", "a/", true},
	{"a/+", "a/b/c", false},
	{"a/*", "a/b", false},
	{"a/*", "a/*", true},
	{"a.b/+", "a.b/c", true},
	{"a.b", "a/b", false},
	{"a/b", "a.b", false},
	{"#", "$SYS/x", false},
	{"+/x", "$SYS/x", false},
	{"+", "$", false},
	{"$SYS/#", "$SYS/x", true},
	{"$SYS/#", "$SYS", true},
	{"$SYS/+", "$SYS/x", true},
	{"/#", "/$x", true},
	{"a/#", "a/$x", true},
	{"+", "+", false},
	{"#", "#", false},
	{"a/+", "a/#", false},
	{"#", "a\x00", false},
	{"#", "", false},
}

func TestMatchFilter(t *testing.T) {
	for _, c := range filterCases {
		if got := route.MatchFilter(c.filter, c.topic); got != c.want {
			t.Errorf("MatchFilter(%q, %q) = %v, want %v", c.filter, c.topic, got, c.want)
		}
		if c.topic == "" || strings.ContainsAny(c.topic, "+#\x00") {
			continue
		}
		topics := route.NewTopics[int]()
		topics.Put(c.topic, 1)
		got := false
		topics.Match(c.filter, func(string, int) bool { got = true; return true })
		if got != c.want {
			t.Errorf("Topics.Match(%q) finds %q = %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}

func TestMatchFilterRefusesIllegalFilters(t *testing.T) {
	for _, filter := range []string{"", "#/a", "#/", "a/#/b", "a#", "+b"} {
		if route.MatchFilter(filter, "a/b") || route.MatchFilter(filter, "ab") || route.MatchFilter(filter, "a") {
			t.Errorf("MatchFilter(%q, …) = true, want false", filter)
		}
	}
}

// FuzzFilter feeds any two strings as filter and topic: all matchers agree, and what was
// bound leaves nothing behind.
func FuzzFilter(f *testing.F) {
	for _, c := range filterCases {
		f.Add(c.filter, c.topic)
	}
	f.Add("a#", "a/b")
	f.Add(strings.Repeat("+/", 127)+"#", strings.Repeat("/", 127))
	f.Fuzz(func(t *testing.T, filter, topic string) {
		table := route.New[int]()
		nodes, _ := table.Size()
		valid := route.ValidFilter(filter) == nil
		if bound := table.BindFilter(filter, 1); bound != valid {
			t.Fatalf("BindFilter(%q) = %v, but ValidFilter says %v", filter, bound, valid)
		}
		want := valid && bruteFilter(filter, topic)
		dests, _, err := table.Match(route.TopicExchange, route.SwapTopic(nil, []byte(topic)), nil, nil)
		if err == nil && (len(dests) == 1) != want {
			t.Fatalf("Match with filter %q, topic %q = %v, want %v", filter, topic, dests, want)
		}
		if route.ValidTopic([]byte(topic)) == nil {
			checkSingle(t, filter, topic, valid, want)
		}
		if removed := table.UnbindFilter(filter, 1); removed != valid {
			t.Fatalf("UnbindFilter(%q) = %v, want %v", filter, removed, valid)
		}
		if n, e := table.Size(); n != nodes || e != 0 {
			t.Fatalf("after UnbindFilter(%q): %d nodes, %d entries, want %d, 0", filter, n, e, nodes)
		}
	})
}

// checkSingle compares MatchFilter and Topics with what is right for a legal topic.
func checkSingle(t *testing.T, filter, topic string, valid, want bool) {
	t.Helper()
	if got := route.MatchFilter(filter, topic); valid && got != want {
		t.Fatalf("MatchFilter(%q, %q) = %v, want %v", filter, topic, got, want)
	}
	topics := route.NewTopics[int]()
	topics.Put(topic, 1)
	found := false
	topics.Match(filter, func(got string, _ int) bool { found = got == topic; return true })
	if found != want {
		t.Fatalf("Topics.Match(%q) finds %q = %v, want %v", filter, topic, found, want)
	}
	topics.Delete(topic)
	if n := topics.Size(); n != 1 {
		t.Fatalf("after Delete(%q): %d nodes, want 1", topic, n)
	}
}

// FuzzKey feeds any two strings as binding key and routing key.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"", "#", "*", "a.*.#", "#.a.#.b", "..", "a.#.#", "*.#.*"} {
		f.Add(key, "a.b.c")
		f.Add(key, "")
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		table := route.New[int]()
		b := route.Binding[int]{Source: route.TopicExchange, Key: pattern, Dest: 1}
		if bound, words := table.Bind(b), strings.Count(pattern, ".")+1; bound != (words <= route.MaxWords) {
			t.Fatalf("Bind(%q) = %v with %d words", pattern, bound, words)
		} else if !bound {
			return
		}
		dests, _, err := table.Match(route.TopicExchange, []byte(key), nil, nil)
		if words := strings.Count(key, ".") + 1; (err == nil) != (words <= route.MaxWords) {
			t.Fatalf("Match(%q) with %d words: %v", key, words, err)
		}
		if want := bruteKey(pattern, key); err == nil && (len(dests) == 1) != want {
			t.Fatalf("binding key %q, routing key %q: got %v, want %v", pattern, key, dests, want)
		}
	})
}
