package route_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/route"
)

// TestSearchWhileTopicsChange searches in steps, with changes in between: what has a value
// all the time is found once, and nothing is left of a search that has ended.
func TestSearchWhileTopicsChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := route.NewTopics[int]()
		genTopic := genWords([]string{"a", "b", "c", "d", "e", "f", "g", "", "$s"}, "/", 3)
		has := map[string]bool{}
		change := func() {
			topic := genTopic.Draw(t, "topic")
			if rapid.Bool().Draw(t, "put") {
				topics.Put(topic, 0)
				has[topic] = true
			} else {
				topics.Delete(topic)
				delete(has, topic)
			}
		}
		for range rapid.IntRange(0, 60).Draw(t, "before") {
			change()
		}
		filter := rapid.SampledFrom([]string{"#", "+/+", "a/#", "+/b", "a/+/c", "+/#", "a/b", "$s/#", "+"}).Draw(t, "filter")
		always, since := map[string]bool{}, map[string]int{} // since counts how often a topic may be found
		for topic := range has {
			if topic != "" && route.MatchFilter(filter, topic) {
				always[topic], since[topic] = true, 1
			}
		}
		found := map[string]int{}
		s := topics.Search(filter)
		stop := rapid.IntRange(0, 50).Draw(t, "stop")
		step := rapid.IntRange(1, 5).Draw(t, "step")
		more := true
		for n := 0; more && n < stop; n++ {
			more = s.Next(step, func(topic string, _ int) bool { found[topic]++; return true })
			before := len(has)
			topic := genTopic.Draw(t, "changed")
			if rapid.Bool().Draw(t, "put") {
				topics.Put(topic, 0)
				if has[topic] = true; len(has) > before {
					since[topic]++
				}
			} else {
				topics.Delete(topic)
				delete(has, topic)
				delete(always, topic)
			}
		}
		s.End()
		for topic, n := range found {
			if topic != "" && n > since[topic] {
				t.Fatalf("%q found %d times in a search for %q, was put %d times", topic, n, filter, since[topic])
			}
		}
		for topic := range always {
			if !more && found[topic] != 1 {
				t.Fatalf("%q found %d times in a search for %q, want once", topic, found[topic], filter)
			}
		}
		for topic := range has {
			topics.Delete(topic)
		}
		if n := topics.Size(); n != 1 {
			t.Fatalf("%d nodes are left, want the root", n)
		}
	})
}
