package core_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// BenchmarkHold schedules persistent messages of 256 B for times spread over ten minutes
// that begin in an hour, with at most 1,000 unconfirmed. heap-MB is what is in use then.
func BenchmarkHold(b *testing.B) {
	broker := benchBroker(b)
	wake := make(chan struct{}, 1)
	p, err := broker.NewPublisher("/", nil, signal(wake))
	if err != nil {
		b.Fatal(err)
	}
	m := amqp("", "q", string(payload()))
	b.ReportAllocs()
	seq, settled := uint64(0), uint64(0)
	await := func(left uint64) {
		for seq-settled > left {
			if settled, err = p.Settled(); err != nil {
				b.Fatal(err)
			}
			if seq-settled > left {
				<-wake
			}
		}
	}
	for b.Loop() {
		m.DeliverAt = time.Now().Add(time.Hour + time.Duration(rand.Int64N(600_000))*time.Millisecond).UnixMilli()
		got, err := p.Publish(&m)
		if err != nil {
			b.Fatal(err)
		}
		seq = got.Seq
		await(1000)
	}
	await(0)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.HeapInuse)/(1<<20), "heap-MB")
	if n := broker.HeldMessages("/"); n != seq {
		b.Fatalf("%d messages are held, want %d", n, seq)
	}
}

// BenchmarkDue has messages of 256 B due that were scheduled for one moment, and counts
// until all of them are in their queue.
func BenchmarkDue(b *testing.B) {
	broker := benchBroker(b)
	p, err := broker.NewPublisher("/", nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	m := amqp("", "q", string(payload()))
	m.DeliverAt = time.Now().Add(time.Duration(b.N)*10*time.Microsecond + time.Second).UnixMilli()
	for range b.N {
		if _, err := p.Publish(&m); err != nil {
			b.Fatal(err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Now().UnixMilli() < m.DeliverAt {
		<-tick.C
	}
	b.ResetTimer()
	for broker.HeldMessages("/") > 0 {
		<-tick.C
	}
	b.StopTimer()
	status, err := broker.CheckQueue("/", "q", "")
	if err != nil || status.Ready != uint64(b.N) {
		b.Fatalf("the queue has %d messages, %v", status.Ready, err)
	}
}
