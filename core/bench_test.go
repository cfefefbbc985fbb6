package core_test

import (
	"crypto/rand"
	"log/slog"
	"strconv"
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

// BenchmarkSettleOneOfPriorities gives one message back and gets it again, on a queue
// that has so many priorities in use: what a client does with a prefetch of 1 and its
// acknowledgements.
func BenchmarkSettleOneOfPriorities(b *testing.B) {
	for _, used := range []int{1, 10, 255} {
		b.Run(strconv.Itoa(used), func(b *testing.B) {
			broker := benchBroker(b)
			if _, err := broker.DeclareQueue(b.Context(), "/", core.QueueSpec{
				Name: "all", Durable: true, Args: map[string]any{"x-max-priority": int64(255)},
			}); err != nil {
				b.Fatal(err)
			}
			wake, ready := make(chan struct{}, 1), make(chan struct{}, 1)
			p, err := broker.NewPublisher("/", nil, signal(wake))
			if err != nil {
				b.Fatal(err)
			}
			for priority := range used {
				m := amqp("", "all", "x")
				m.PriorityKnown, m.Priority = true, uint8(priority)
				if _, err := p.Publish(&m); err != nil {
					b.Fatal(err)
				}
			}
			c, err := broker.Consume(b.Context(), "/", core.ConsumeSpec{
				Queue: "all", Notify: signal(ready), Limits: []*core.Limit{core.NewLimit(1)},
			})
			if err != nil {
				b.Fatal(err)
			}
			var ds []core.Delivery
			for settled := 0; settled < used-1; { // all but one of priority 0
				<-ready
				if ds, err = c.Next(ds[:0], 1); err != nil {
					b.Fatal(err)
				}
				for i := range ds {
					c.Settle(core.Ack, ds[i].Position)
					settled++
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				for ds = ds[:0]; len(ds) == 0; {
					if ds, err = c.Next(ds, 1); err != nil {
						b.Fatal(err)
					}
					if len(ds) == 0 {
						<-ready
					}
				}
				c.Settle(core.Requeue, ds[0].Position)
			}
		})
	}
}
