package mqtt_test

import (
	"bufio"
	"bytes"
	"io"
	"runtime"
	"strconv"
	"testing"
)

// BenchmarkPublishQoS1 publishes with a window of 1,000 while a durable session
// on # is offline. The file system is in memory: this is the cost of adapter
// and engine.
func BenchmarkPublishQoS1(b *testing.B) {
	w := newWorld(b)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "#", 1, 1)
	sub.conn.Close()
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	packet := pub.publish(2, 1, "plant/1/line/4/temperature", string(bytes.Repeat([]byte("x"), 256)))
	b.ReportAllocs()
	out := bufio.NewWriterSize(pub.conn, 64<<10)
	in := bufio.NewReaderSize(pub.conn, 64<<10)
	flying := 0
	acked := func(atLeast int) {
		for n := 0; n < atLeast || in.Buffered() >= 4 && flying > 0; n++ {
			var ack [4]byte
			if _, err := io.ReadFull(in, ack[:]); err != nil {
				b.Fatal(err)
			}
			flying--
		}
	}
	for b.Loop() {
		if flying == 1000 {
			if err := out.Flush(); err != nil {
				b.Fatal(err)
			}
			acked(500)
		}
		if _, err := out.Write(packet); err != nil {
			b.Fatal(err)
		}
		flying++
	}
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	acked(flying)
}

// BenchmarkDeliverQoS0 sends to one subscriber from memory.
func BenchmarkDeliverQoS0(b *testing.B) {
	w := newWorld(b)
	sub, _ := w.connect(connect{clean: true, id: "sub"})
	sub.subscribed(1, "#", 0, 0)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	packet := pub.publish(0, 0, "plant/1/line/4/temperature", string(bytes.Repeat([]byte("x"), 256)))
	b.ReportAllocs()
	out := bufio.NewWriterSize(pub.conn, 64<<10)
	in := bufio.NewReaderSize(sub.conn, 256<<10)
	flying := 0
	for b.Loop() {
		if _, err := out.Write(packet); err != nil {
			b.Fatal(err)
		}
		if flying++; flying == 1000 {
			if err := out.Flush(); err != nil {
				b.Fatal(err)
			}
			if _, err := in.Discard(flying * len(packet)); err != nil {
				b.Fatal(err)
			}
			flying = 0
		}
	}
}

// BenchmarkIdleConnection reports what an idle connection holds, the test's own
// end of it included.
func BenchmarkIdleConnection(b *testing.B) {
	w := newWorld(b)
	const n = 1000
	for b.Loop() {
		before := held()
		clients := make([]*client, n)
		for i := range clients {
			clients[i], _ = w.connect(connect{clean: true, id: strconv.Itoa(i)})
		}
		b.ReportMetric(float64(held()-before)/n, "B/conn")
		for _, c := range clients {
			c.conn.Close()
		}
		w.eventually("connections end", func() bool { return w.server.Stats().Connections == 0 })
	}
}

func held() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
