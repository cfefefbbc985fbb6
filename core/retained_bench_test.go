package core_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// millionRetained are a million topics: a thousand each for what the benchmark asks for,
// among all others.
func millionRetained(i int) string {
	switch i % 1000 {
	case 1:
		return fmt.Sprintf("a/%d/c", i)
	case 2:
		return fmt.Sprintf("a/b/%d/x", i)
	case 3:
		return fmt.Sprintf("dev/%d/alarm", i)
	default:
		return fmt.Sprintf("dev/%d/state", i)
	}
}

// BenchmarkRetained subscribes to a thousand of a million retained values, all over the
// log, and takes them. It tells the memory of the process with all of them, too.
func BenchmarkRetained(b *testing.B) {
	broker := benchBroker(b)
	p, err := broker.NewPublisher("/", nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	for n := range 1_000_000 {
		i := n * 611_953 % 1_000_000 // the order of the log is not that of topics
		m := mqtt(millionRetained(i), string(payload()[:100]), 0)
		m.Retain = true
		if _, err := p.Publish(&m); err != nil {
			b.Fatal(err)
		}
	}
	debug.FreeOSMemory()
	b.Logf("resident with a million retained values: %s", resident())
	for _, filter := range []string{"a/+/c", "a/b/#", "dev/+/alarm", "dev/3003/+"} {
		b.Run(strings.NewReplacer("/", "|").Replace(filter), func(b *testing.B) {
			want := 1000
			if filter == "dev/3003/+" {
				want = 1
			}
			wake := make(chan struct{}, 1)
			s, _, err := broker.OpenSession(b.Context(), "/", core.SessionSpec{
				ClientID: "bench", Clean: true, Notify: signal(wake),
				Live: func(*core.Message, []core.SubID) bool { return true },
			})
			if err != nil {
				b.Fatal(err)
			}
			var got []core.Delivery
			for b.Loop() {
				_, err := s.Subscribe(b.Context(), []core.SubscriptionSpec{{Filter: filter, QoS: 1, Retained: true}})
				if err != nil {
					b.Fatal(err)
				}
				for n := 0; n < want; n += len(got) {
					if got, err = s.Next(got[:0], 256); err != nil || len(got) == 0 {
						b.Fatal(err, n)
					}
				}
			}
			runtime.KeepAlive(got)
			if err := s.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// resident is the process's memory as the kernel counts it.
func resident() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "not known here"
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
