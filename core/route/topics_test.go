package route_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/route"
)

func TestTopicsMatch(t *testing.T) {
	topics := route.NewTopics[int]()
	for i, topic := range []string{"a", "a/b", "a/b/c", "a/x/c", "b", "$SYS/up", "$SYS", "/", "/a", "a.b/c"} {
		topics.Put(topic, i)
	}
	for filter, want := range map[string][]string{
		"a":      {"a"},
		"a/#":    {"a", "a/b", "a/b/c", "a/x/c"},
		"a/+":    {"a/b"},
		"+/+":    {"/", "/a", "a.b/c", "a/b"},
		"+/+/c":  {"a/b/c", "a/x/c"},
		"+":      {"a", "b"},
		"#":      {"/", "/a", "a", "a.b/c", "a/b", "a/b/c", "a/x/c", "b"},
		"$SYS/#": {"$SYS", "$SYS/up"},
		"+/up":   nil,
		"/#":     {"/", "/a"},
		"/+":     {"/", "/a"},
		"a/y/#":  nil,
		"a#":     nil,
		"":       nil,
		"a/b/c/": nil,
	} {
		if got := matchTopics(topics, filter); !slices.Equal(got, want) {
			t.Errorf("Match(%q) = %v, want %v", filter, got, want)
		}
	}
}

func matchTopics(topics *route.Topics[int], filter string) []string {
	var got []string
	topics.Match(filter, func(topic string, _ int) bool {
		got = append(got, topic)
		return true
	})
	slices.Sort(got)
	return got
}

func TestTopicsMatchEnds(t *testing.T) {
	topics := route.NewTopics[int]()
	for _, topic := range []string{"a", "a/b", "a/c", "b/c"} {
		topics.Put(topic, 0)
	}
	for _, filter := range []string{"#", "+/+", "a/#", "+/c"} {
		calls := 0
		topics.Match(filter, func(string, int) bool { calls++; return false })
		if calls != 1 {
			t.Errorf("Match(%q) called %d times after false, want 1", filter, calls)
		}
	}
}

// TestTopicsModel drives the index and a map with the same calls.
func TestTopicsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics, model := route.NewTopics[int](), make(map[string]int)
		genTopic := genWords([]string{"a", "b", "c", "d", "e", "f", "g", "", "$s", "a.b"}, "/", 4)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				topic, v := genTopic.Draw(t, "topic"), rapid.Int().Draw(t, "value")
				topics.Put(topic, v)
				model[topic] = v
			},
			"delete": func(t *rapid.T) {
				topic := genTopic.Draw(t, "topic")
				_, want := model[topic]
				if got := topics.Delete(topic); got != want {
					t.Fatalf("Delete(%q) = %v, want %v", topic, got, want)
				}
				delete(model, topic)
			},
			"get": func(t *rapid.T) {
				topic := genTopic.Draw(t, "topic")
				want, ok := model[topic]
				if v, found := topics.Get(topic); v != want || found != ok {
					t.Fatalf("Get(%q) = %d, %v, want %d, %v", topic, v, found, want, ok)
				}
			},
			"match": func(t *rapid.T) {
				filter := genFilter().Draw(t, "filter")
				var want []string
				for _, topic := range slices.Sorted(maps.Keys(model)) {
					if filter != "" && topic != "" && bruteFilter(filter, topic) {
						want = append(want, topic)
					}
				}
				got := slices.DeleteFunc(matchTopics(topics, filter), func(topic string) bool { return topic == "" })
				if !slices.Equal(got, want) {
					t.Fatalf("Match(%q) = %q, want %q", filter, got, want)
				}
			},
			"": func(t *rapid.T) {
				if topics.Len() != len(model) {
					t.Fatalf("Len = %d, want %d", topics.Len(), len(model))
				}
			},
		})
		for topic := range model {
			topics.Delete(topic)
		}
		if topics.Size() != 1 || topics.Len() != 0 {
			t.Fatalf("emptied index has %d nodes, %d topics", topics.Size(), topics.Len())
		}
	})
}

func TestTopicsDoesNotKeepTheString(t *testing.T) {
	topics := route.NewTopics[int]()
	long := "a/" + strings.Repeat("x", 60_000)
	topics.Put(long, 1)
	topics.Put("a/b", 2)
	topics.Delete(long)
	if v, ok := topics.Get("a/b"); v != 2 || !ok {
		t.Errorf("Get = %d, %v, want 2, true", v, ok)
	}
	if _, ok := topics.Get("a"); ok {
		t.Error("Get of a topic on the way to another: found")
	}
}
