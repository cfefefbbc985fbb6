package core_test

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// BenchmarkSessionsOfAFilter has 10,000 sessions that are away subscribe to one filter, and
// publishes to it: it tells how often the bytes of the messages are in the log.
func BenchmarkSessionsOfAFilter(b *testing.B) {
	const sessions, messages, size = 10_000, 1000, 1000
	for b.Loop() {
		broker := benchBroker(b)
		for i := range sessions {
			s, _, err := broker.OpenSession(b.Context(), "/", core.SessionSpec{
				ClientID: "dev-" + strconv.Itoa(i), Expiry: time.Hour, Notify: func() {},
				Live: func(*core.Message, []core.SubID) bool { return true },
			})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Subscribe(b.Context(), []core.SubscriptionSpec{{Filter: "fleet/#", QoS: 1}}); err != nil {
				b.Fatal(err)
			}
			if err := s.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		log := broker.Stats().LogBytes
		wake := make(chan struct{}, 1)
		p, err := broker.NewPublisher("/", nil, signal(wake))
		if err != nil {
			b.Fatal(err)
		}
		rng, seq := rand.NewChaCha8([32]byte{1}), uint64(0)
		for range messages {
			body := make([]byte, size) // that no compression makes smaller
			_, _ = rng.Read(body)
			m := mqtt("fleet/all", string(body), 1)
			r, err := p.Publish(&m)
			if err != nil {
				b.Fatal(err)
			}
			seq = r.Seq
		}
		for n := uint64(0); n < seq; {
			<-wake
			if n, err = p.Settled(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(broker.Stats().LogBytes-log)/(messages*size), "log-B/payload-B")
		p.Close()
	}
}
