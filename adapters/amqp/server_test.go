package amqp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

func TestConfigValidate(t *testing.T) {
	if err := amqp.DefaultConfig().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	for name, change := range map[string]func(*amqp.Config){
		"frame_max":   func(c *amqp.Config) { c.FrameMax = 4096 },
		"heartbeat":   func(c *amqp.Config) { c.Heartbeat = time.Millisecond },
		"channel_max": func(c *amqp.Config) { c.ChannelMax = 0 },
		"unacked":     func(c *amqp.Config) { c.MaxUnacked = 0 },
		"login":       func(c *amqp.Config) { c.LoginTimeout = 0 },
		"product":     func(c *amqp.Config) { c.Product = "" },
	} {
		c := amqp.DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: a bad value is valid", name)
		}
	}
}

func TestShutdownSaysGoodbye(t *testing.T) {
	h := newHarness(t)
	closed := h.connect().NotifyClose(make(chan *amqp091.Error, 1))
	h.stop()
	err := <-closed
	if err == nil || err.Code != 320 || err.Reason != "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'" {
		t.Fatalf("close: got %v", err)
	}
}

// pipe serves one end of a pipe in the present bubble, without an engine. What
// it returns is the client's end and the error of Serve.
func pipe(t *testing.T, cfg amqp.Config) (net.Conn, <-chan error) {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan error, 1)
	s := amqp.New(nil, nil, cfg, slog.New(slog.DiscardHandler))
	go func() {
		done <- s.Serve(context.Background(), &gateway.Conn{Conn: server, ID: "pipe"})
		_ = server.Close()
	}()
	return client, done
}

func TestLoginDeadline(t *testing.T) {
	for name, sent := range map[string]string{
		"silence":           "",
		"half a header":     "AMQP",
		"no start-ok":       wire.Protocol,
		"start-ok cut off":  wire.Protocol + "\x01\x00\x00\x00\x00\x40\x00",
		"giant frame":       wire.Protocol + "\x01\x00\x00\x7f\xff\xff\xff",
		"other frame":       wire.Protocol + string(wire.AppendMethod(nil, 1, &wire.ChannelOpen{})),
		"malformed login":   wire.Protocol + string(wire.AppendMethod(nil, 0, &wire.ConnectionStartOK{Mechanism: "PLAIN"})),
		"unknown mechanism": wire.Protocol + string(wire.AppendMethod(nil, 0, &wire.ConnectionStartOK{Mechanism: "X"})),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				client, done := pipe(t, amqp.DefaultConfig())
				go func() { _, _ = io.WriteString(client, sent) }()
				_, _ = io.Copy(io.Discard, client)
				if err := <-done; err == nil {
					t.Error("serve ended without an error")
				}
				if d := time.Since(start); d > 13*time.Second || d < 3*time.Second {
					t.Errorf("the connection ended after %v", d)
				}
				_ = client.Close()
			})
		})
	}
}

func TestHeartbeats(t *testing.T) {
	h := newHarness(t)
	r := h.dial()
	r.write([]byte(wire.Protocol))
	expect[*wire.ConnectionStart](r)
	r.send(0, startOK("guest", "guest"))
	expect[*wire.ConnectionTune](r)
	r.send(0, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 8192, Heartbeat: 1})
	r.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
	expect[*wire.ConnectionOpenOK](r)
	start, beats := time.Now(), 0
	for {
		f, ok, err := r.reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if f.Type != wire.FrameHeartbeat || f.Channel != 0 || len(f.Payload) != 0 {
				t.Fatalf("got %+v, want a heartbeat", f)
			}
			beats++
			continue
		}
		if err := r.reader.Fill(); err != nil {
			break
		}
	}
	// The client is silent, so the server gives it up after two intervals, and not
	// before.
	if d := time.Since(start); beats == 0 || d < 1500*time.Millisecond {
		t.Errorf("%d heartbeats until the end after %v", beats, d)
	}
}

// TestAllChannelsOfAConnection opens as many channels as were agreed on; each works,
// and one more ends the connection.
func TestAllChannelsOfAConnection(t *testing.T) {
	const most = 2047
	h := newHarness(t)
	r := h.dial()
	r.login("guest") // opens channel 1
	var opens []byte
	for id := uint16(2); id <= most; id++ {
		opens = wire.AppendMethod(opens, id, &wire.ChannelOpen{})
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		r.write(opens)
	}()
	for id := uint16(2); id <= most; id++ {
		if got, m := r.method(); got != id {
			t.Fatalf("got %T on channel %d, want the answer of %d", m, got, id)
		}
	}
	<-sent
	r.send(most, &wire.QueueDeclare{Queue: "q", Exclusive: true})
	if got, m := r.method(); got != most {
		t.Fatalf("got %T on channel %d", m, got)
	}
	r.send(most+1, &wire.ChannelOpen{})
	e := expect[*wire.ConnectionClose](r)
	const text = "NOT_ALLOWED - number of channels opened (2047) has reached the negotiated channel_max (2047)"
	if e.ReplyCode != 530 || e.ReplyText != text {
		t.Errorf("got %d %q, want 530 %q", e.ReplyCode, e.ReplyText, text)
	}
}

func TestMemoryBeforeLogin(t *testing.T) {
	h := newHarness(t)
	const clients = 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range clients {
		r := h.dial()
		r.write([]byte(wire.Protocol))
		expect[*wire.ConnectionStart](r)
		// A frame that fills what is allowed, but for its end.
		r.write(append([]byte("\x01\x00\x00\x00\x00\x80\x00"), make([]byte, 32<<10)...))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// The clients of this test hold buffers too: 4 KiB each.
	if per := (int64(after.HeapInuse) - int64(before.HeapInuse)) / clients; per > 64<<10 {
		t.Errorf("%d bytes for each client before login", per)
	}
}

func TestMQTTMessagesReachAMQP(t *testing.T) {
	h := newHarness(t)
	ch := openChannel(t, h.connect())
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "sensors.#", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.broker.NewPublisher("/", nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, props := range []string{"", "text/plain"} {
		_, err := p.Publish(&core.Message{
			Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte("sensors/hall.1/temp"),
			Properties: []byte(props), Payload: []byte("21"), QoS: uint8(i),
		})
		if err != nil {
			t.Fatal(err)
		}
		d := receive(t, deliveries)
		if d.RoutingKey != "sensors.hall/1.temp" || d.Exchange != "amq.topic" || string(d.Body) != "21" ||
			d.DeliveryMode != uint8(i+1) || d.ContentType != props {
			t.Errorf("got %+v", d)
		}
	}
}

// A client that does not read holds up nobody but itself, and what waits for
// it is bounded.
func TestSlowConsumer(t *testing.T) {
	h := newHarness(t)
	ch := openChannel(t, h.connect())
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	slow := h.dial()
	slow.login("guest")
	slow.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOK](slow)
	body := bytes.Repeat([]byte{1}, 32<<10)
	const messages = 1000
	for range messages {
		if err := ch.Publish("", "q", false, false, amqp091.Publishing{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	q, err := ch.QueueDeclarePassive("q", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q.Messages == 0 {
		t.Error("everything was taken out of the queue for a client that does not read")
	}
	for i := range messages {
		d := expect[*wire.BasicDeliver](slow)
		if d.DeliveryTag != uint64(i+1) {
			t.Fatalf("tag %d, want %d", d.DeliveryTag, i+1)
		}
		for got := 0; got < len(body); {
			f, err := slow.read()
			if err != nil {
				t.Fatal(err)
			}
			if f.Type == wire.FrameBody {
				got += len(f.Payload)
			}
		}
	}
	slow.send(1, &wire.BasicAck{Multiple: true})
	slow.send(1, &wire.BasicGet{Queue: "q"})
	expect[*wire.BasicGetEmpty](slow)
}

func TestConfirmsAreCoalesced(t *testing.T) {
	h := newHarness(t)
	r := h.dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q", Durable: true})
	expect[*wire.QueueDeclareOK](r)
	r.send(1, &wire.ConfirmSelect{})
	expect[*wire.ConfirmSelectOK](r)
	const messages = 640
	var burst []byte
	for i := range messages {
		burst = wire.AppendMethod(burst, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
		burst = wire.AppendContent(burst, 1, 0, []byte{0x10, 0, 2}, fmt.Append(nil, i))
	}
	r.write(burst)
	acks := 0
	for last := uint64(0); last < messages; acks++ {
		a := expect[*wire.BasicAck](r)
		if a.DeliveryTag <= last || a.Multiple != (a.DeliveryTag > last+1) {
			t.Fatalf("confirm %+v after %d", a, last)
		}
		last = a.DeliveryTag
	}
	if acks > messages/2 {
		t.Errorf("%d confirms for %d publishes", acks, messages)
	}
}

func TestUnackedLimit(t *testing.T) {
	h := newHarness(t, func(c *amqp.Config, _ *core.Config) { c.MaxUnacked = 10 })
	ch := openChannel(t, h.connect())
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := ch.Publish("", "q", false, false, amqp091.Publishing{Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		d := receive(t, deliveries)
		if string(d.Body) != strconv.Itoa(i) {
			t.Fatalf("got %s, want %d", d.Body, i)
		}
		if i%5 == 4 {
			if err := d.Ack(true); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestPassivePermissionsAndClientErrors(t *testing.T) {
	h := newHarness(t)
	conn, err := amqp091.Dial("amqp://reader:guest@" + h.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = openChannel(t, conn).QueueDeclarePassive("none", false, false, false, false, nil)
	if e, ok := errors.AsType[*amqp091.Error](err); !ok || e.Code != 404 {
		t.Errorf("passive declare: got %v", err)
	}
	if err := openChannel(t, conn).QueueBind("q", "k", "amq.direct", false, nil); err == nil {
		t.Error("a bind without permission was done")
	}
	if _, err := amqp091.Dial("amqp://guest:wrong@" + h.addr + "/"); !errors.Is(err, amqp091.ErrCredentials) {
		t.Errorf("wrong password: got %v", err)
	}
}
