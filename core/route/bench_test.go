package route_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core/route"
)

// benchMatch measures one match with room in dst.
func benchMatch(b *testing.B, table *route.Table[uint64], exchange, key string, want int) {
	b.Helper()
	text, dst := []byte(key), make([]uint64, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		got, _, err := table.Match(exchange, text, nil, dst)
		if err != nil || len(got) != want {
			b.Fatalf("Match = %d destinations, %v, want %d", len(got), err, want)
		}
	}
}

func BenchmarkMatchDirect(b *testing.B) {
	table := route.New[uint64]()
	for i := range uint64(100_000) {
		table.Bind(route.Binding[uint64]{Source: "amq.direct", Key: fmt.Sprintf("key.%d", i), Dest: i})
	}
	benchMatch(b, table, "amq.direct", "key.777", 1)
}

func BenchmarkMatchDefault(b *testing.B) {
	table := route.New[uint64]()
	table.AddQueue("orders", 1)
	benchMatch(b, table, "", "orders", 1)
}

func BenchmarkMatchFanout100(b *testing.B) {
	table := route.New[uint64]()
	for i := range uint64(100) {
		table.Bind(route.Binding[uint64]{Source: "amq.fanout", Dest: i})
	}
	benchMatch(b, table, "amq.fanout", "", 100)
}

func BenchmarkMatchTopicMillion(b *testing.B) {
	table := million()
	table.BindFilter("#", 1)
	table.BindFilter("dev/+/cmd", 2)
	benchMatch(b, table, "amq.topic", "dev.777777.cmd", 3)
}

func BenchmarkMatchHostile(b *testing.B) {
	table := route.New[uint64]()
	table.Bind(route.Binding[uint64]{Source: "amq.topic", Key: strings.Repeat("#.a.", 60) + "#.b", Dest: 1})
	benchMatch(b, table, "amq.topic", strings.Repeat("a.", 127)+"a", 0)
}

func BenchmarkMatchThroughExchange(b *testing.B) {
	table := route.New[uint64]()
	table.Bind(route.Binding[uint64]{Source: "amq.topic", Key: "a.#", ToExchange: "amq.direct"})
	table.Bind(route.Binding[uint64]{Source: "amq.direct", Key: "a.b", Dest: 1})
	benchMatch(b, table, "amq.topic", "a.b", 1)
}

// million has a million filters of different devices.
func million() *route.Table[uint64] {
	table := route.New[uint64]()
	for i := range uint64(1_000_000) {
		table.BindFilter(fmt.Sprintf("dev/%d/cmd", i), i)
	}
	return table
}

func BenchmarkFilterAddRemove(b *testing.B) {
	table := million()
	b.ReportAllocs()
	for b.Loop() {
		if !table.BindFilter("dev/another/cmd", 7) || !table.UnbindFilter("dev/another/cmd", 7) {
			b.Fatal("filter was not added and removed")
		}
	}
}

// heap returns the bytes that live values take.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func BenchmarkFilterMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		table := million()
		b.ReportMetric((heap()-before)/1_000_000, "B/filter")
		runtime.KeepAlive(table)
	}
}

func BenchmarkTopicsMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		topics := millionTopics()
		b.ReportMetric((heap()-before)/1_000_000, "B/topic")
		runtime.KeepAlive(topics)
	}
}

func millionTopics() *route.Topics[uint64] {
	topics := route.NewTopics[uint64]()
	for i := range uint64(1_000_000) {
		topics.Put(fmt.Sprintf("dev/%d/state", i), i)
	}
	return topics
}

func BenchmarkTopicsPut(b *testing.B) {
	topics := millionTopics()
	b.ReportAllocs()
	for b.Loop() {
		topics.Put("dev/777777/state", 1)
	}
}

func BenchmarkTopicsMatch(b *testing.B) {
	topics := millionTopics()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		topics.Match("dev/777777/#", func(string, uint64) bool { n++; return true })
		if n != 1 {
			b.Fatalf("Match found %d topics, want 1", n)
		}
	}
}

func BenchmarkMatchFilter(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !route.MatchFilter("dev/+/state/#", "dev/777777/state/on") {
			b.Fatal("no match")
		}
	}
}

// BenchmarkTopicsWide has one level that a wildcard stands for with a million children.
func BenchmarkTopicsWide(b *testing.B) {
	topics := millionTopics()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		topics.Match("dev/+/alarm", func(string, uint64) bool { n++; return true })
		if n != 0 {
			b.Fatalf("Match found %d topics, want none", n)
		}
	}
}
