package amqp_test

import (
	"errors"
	"io"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

const window = 1000

// burst is a window of publishes of 256 bytes to the queue.
func burst(mode byte) []byte {
	var b []byte
	body := make([]byte, 256)
	for range window {
		b = wire.AppendMethod(b, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
		b = wire.AppendContent(b, 1, 0, []byte{0x10, 0, mode}, body)
	}
	return b
}

// skip reads methods until fn is content with one.
func skip(b *testing.B, r *raw, fn func(id wire.MethodID, args []byte) bool) {
	b.Helper()
	for {
		f, ok, err := r.reader.Next()
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			if err := r.reader.Fill(); err != nil {
				if errors.Is(err, io.EOF) {
					b.Fatal("connection ended")
				}
				b.Fatal(err)
			}
			continue
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		id, args, err := wire.SplitMethod(f.Payload)
		if err != nil {
			b.Fatal(err)
		}
		if fn(id, args) {
			return
		}
	}
}

func benchClient(b *testing.B) *raw {
	b.Helper()
	r := newHarness(b).dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q", Durable: true})
	expect[*wire.QueueDeclareOK](r)
	return r
}

// One operation is a window of 1000 publishes and their confirms, with the
// engine on files in memory.
func BenchmarkPublishConfirm(b *testing.B) {
	r := benchClient(b)
	r.send(1, &wire.ConfirmSelect{})
	expect[*wire.ConfirmSelectOK](r)
	frames := burst(2)
	b.ReportAllocs()
	sent := uint64(0)
	for b.Loop() {
		r.write(frames)
		sent += window
		skip(b, r, func(id wire.MethodID, args []byte) bool {
			s, err := wire.ParseSettlement(id, args)
			return err == nil && s.Tag == sent
		})
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "msgs/s")
}

// One operation is a window of 1000 messages published, delivered and acked.
func BenchmarkPublishDeliverAck(b *testing.B) {
	r := benchClient(b)
	r.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOK](r)
	frames := burst(1)
	acks := make([]byte, 0, 32*window)
	b.ReportAllocs()
	tag := uint64(0)
	for b.Loop() {
		r.write(frames)
		for range window {
			skip(b, r, func(id wire.MethodID, _ []byte) bool { return id == wire.IDBasicDeliver })
		}
		acks = acks[:0]
		for range window {
			tag++
			acks = wire.AppendConfirm(acks, 1, tag, false, false)
		}
		r.write(acks)
	}
	b.ReportMetric(float64(tag)/b.Elapsed().Seconds(), "msgs/s")
}
