package route_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core/route"
)

// visited returns how many nodes a match looks at.
func visited(t *testing.T, table *route.Table[int], key string) int {
	t.Helper()
	_, result, err := table.Match(route.TopicExchange, []byte(key), nil, nil)
	if err != nil {
		t.Fatalf("Match(%.20q): %v", key, err)
	}
	return result.Visited
}

// TestCostIgnoresWhatDoesNotMatch adds filters that do not match beside those that do.
func TestCostIgnoresWhatDoesNotMatch(t *testing.T) {
	table := route.New[int]()
	for i, filter := range []string{"dev/7/cmd", "dev/+/cmd", "dev/#", "+/7/#", "#"} {
		table.BindFilter(filter, i)
	}
	before := visited(t, table, "dev.7.cmd")
	for i := range 20_000 {
		table.BindFilter(fmt.Sprintf("dev/%d/cmd", i+8), i+100)
		table.BindFilter(fmt.Sprintf("+/%d/cmd", i+8), i+100)
		table.Bind(route.Binding[int]{Source: "amq.topic", Key: fmt.Sprintf("a%d.#", i), Dest: i + 100})
	}
	if after := visited(t, table, "dev.7.cmd"); after != before {
		t.Errorf("match visits %d nodes, %d before others came", after, before)
	}
}

// TestCostOfHostileFilters bounds what filters made to be slow can cost: every node of
// the trie is visited at most once, whatever the key.
func TestCostOfHostileFilters(t *testing.T) {
	deep := strings.TrimSuffix(strings.Repeat("a.", 128), ".")
	for name, keys := range map[string][]string{
		"many hashes":            {strings.Repeat("#.a.", 60) + "#.b"},
		"only hashes":            {strings.TrimSuffix(strings.Repeat("#.", 128), ".") + ".b"},
		"hashes and stars":       {strings.Repeat("#.*.", 60) + "b"},
		"a hash at every length": hashes(60),
		"all of # and a":         combinations([]string{"#", "a"}, 10),
		"all of #, * and a":      combinations([]string{"#", "*", "a"}, 6),
	} {
		table := route.New[int]()
		for i, key := range keys {
			table.Bind(route.Binding[int]{Source: "amq.topic", Key: key, Dest: i})
		}
		nodes, _ := table.Size()
		if got := visited(t, table, deep); got > nodes {
			t.Errorf("%s: match visits %d nodes of %d, want each at most once", name, got, nodes)
		}
	}
	table := route.New[int]()
	table.BindFilter(strings.Repeat("+/", 127)+"x", 1)
	if got := visited(t, table, deep); got != 128 {
		t.Errorf("128 levels of +: match visits %d nodes, want 128", got)
	}
}

func hashes(n int) (keys []string) {
	for i := range n {
		keys = append(keys, strings.Repeat("#.a.", i)+"#.b")
	}
	return keys
}

// combinations returns all keys of n words.
func combinations(words []string, n int) []string {
	keys := []string{""}
	for range n {
		var longer []string
		for _, key := range keys {
			for _, w := range words {
				longer = append(longer, strings.TrimPrefix(key+"."+w, "."))
			}
		}
		keys = longer
	}
	return keys
}

func TestCostOfTopicsMatch(t *testing.T) {
	topics := route.NewTopics[int]()
	for i := range 10_000 {
		topics.Put(fmt.Sprintf("dev/%d/state", i), i)
		topics.Put(fmt.Sprintf("room/%d/a/b/c", i%10), i)
	}
	for filter, most := range map[string]int{
		"dev/77/+": 4, "dev/77/#": 4, "room/#": 1 + 1 + 10*4, "room/+/a": 1 + 1 + 10*2, "x/#": 1, "+/77/state": 1 + 2 + 2,
	} {
		if got := topics.MatchCost(filter); got > most {
			t.Errorf("Match(%q) visits %d nodes, want at most %d", filter, got, most)
		}
	}
}

// TestManyChildren has so many words below one that some share a hash, and removes them
// in another order than they came.
func TestManyChildren(t *testing.T) {
	const n = 300_000
	table := route.New[int]()
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for i := range n {
		if !table.BindFilter(fmt.Sprintf("dev/%d", i), i) {
			t.Fatalf("BindFilter %d = false", i)
		}
	}
	for k, i := range order {
		key := fmt.Sprintf("dev.%d", i)
		if got, _, err := table.Match(route.TopicExchange, []byte(key), nil, nil); err != nil || !slices.Equal(got, []int{i}) {
			t.Fatalf("Match(%q) = %v, %v, want [%d]", key, got, err, i)
		}
		if k%2 == 0 && !table.UnbindFilter(fmt.Sprintf("dev/%d", i), i) {
			t.Fatalf("UnbindFilter %d = false", i)
		} else if k%2 == 1 {
			table.RemoveDest(i)
		}
	}
	if nodes, entries := table.Size(); nodes != 2 || entries != 0 || table.Edges() != 0 {
		t.Errorf("left over: %d nodes, %d entries, %d edges, want the 2 roots", nodes, entries, table.Edges())
	}
}
