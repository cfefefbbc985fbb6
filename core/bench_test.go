package core_test

import (
	"crypto/rand"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// benchBroker is a broker on the real file system.
func benchBroker(b *testing.B) *core.Broker {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	cat, err := metadata.OpenCatalog(b.Context(), memory.New(), metadata.CatalogConfig{Cluster: "bench"}, log)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := cat.CreateNamespace(b.Context(), metadata.Namespace{Name: "/"}); err != nil {
		b.Fatal(err)
	}
	broker, err := core.Open(b.Context(), core.DefaultConfig(), core.Deps{
		Dir: b.TempDir(), FS: vfs.Default, Clock: clock.System, Rand: rand.Reader, Catalog: cat, Log: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := broker.Close(); err != nil {
			b.Error(err)
		}
		if err := cat.Close(); err != nil {
			b.Error(err)
		}
	})
	for name, args := range map[string]map[string]any{"q": nil, "priorities": upTo(9)} {
		spec := core.QueueSpec{Name: name, Durable: true, Args: args}
		if _, err := broker.DeclareQueue(b.Context(), "/", spec); err != nil {
			b.Fatal(err)
		}
	}
	return broker
}

// payload is 256 bytes of telemetry, as a device sends it.
func payload() []byte {
	p := []byte(`{"device":"dev-000017","seq":102934,"time":1517966773840,"temp":21.532,"hum":0.4187}`)
	for len(p) < 256 {
		p = append(p, p[len(p)%79]^byte(len(p)%5))
	}
	return p[:256]
}

// BenchmarkCommit publishes persistent messages of 256 B with at most 1,000
// unconfirmed, every confirm after the sync.
func BenchmarkCommit(b *testing.B) {
	broker := benchBroker(b)
	wake := make(chan struct{}, 1)
	p, err := broker.NewPublisher("/", nil, signal(wake))
	if err != nil {
		b.Fatal(err)
	}
	m := amqp("", "q", string(payload()))
	b.ReportAllocs()
	b.SetBytes(256)
	var sent, settled uint64
	for b.Loop() {
		for sent-settled >= 1000 {
			<-wake
			if settled, err = p.Settled(); err != nil {
				b.Fatal(err)
			}
		}
		got, err := p.Publish(&m)
		if err != nil {
			b.Fatal(err)
		}
		sent = got.Seq
	}
	st := broker.Stats()
	b.ReportMetric(float64(st.BatchRecords)/float64(st.Batches), "msgs/sync")
}

// BenchmarkEndToEnd adds a consumer that settles everything.
func BenchmarkEndToEnd(b *testing.B) { endToEnd(b, "q") }

// BenchmarkEndToEndOfPriorities is BenchmarkEndToEnd for messages of ten priorities.
func BenchmarkEndToEndOfPriorities(b *testing.B) { endToEnd(b, "priorities") }

func endToEnd(b *testing.B, queue string) {
	b.Helper()
	broker := benchBroker(b)
	wake, ready := make(chan struct{}, 1), make(chan struct{}, 1)
	p, err := broker.NewPublisher("/", nil, signal(wake))
	if err != nil {
		b.Fatal(err)
	}
	c, err := broker.Consume(b.Context(), "/", core.ConsumeSpec{Queue: queue, Notify: signal(ready)})
	if err != nil {
		b.Fatal(err)
	}
	m := amqp("", queue, string(payload()))
	m.PriorityKnown = true
	b.ReportAllocs()
	var sent, got uint64
	var ds []core.Delivery
	var ps []core.Position
	take := func() {
		if ds, err = c.Next(ds[:0], 512); err != nil {
			b.Fatal(err)
		}
		ps = ps[:0]
		for i := range ds {
			ps = append(ps, ds[i].Position)
		}
		c.Settle(core.Ack, ps...)
		got += uint64(len(ds))
	}
	for b.Loop() {
		for sent-got >= 2000 {
			<-ready
			take()
		}
		m.Priority = uint8(sent % 10)
		if _, err := p.Publish(&m); err != nil {
			b.Fatal(err)
		}
		sent++
	}
}
