package amqp_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// lowOnDisk raises or ends the alarm and returns when it is so.
func (h *harness) lowOnDisk(low bool) {
	h.t.Helper()
	reached := make(chan struct{}, 1)
	stop := h.broker.OnPressure(func(p core.Pressure) {
		if p.Disk == low {
			select {
			case reached <- struct{}{}:
			default:
			}
		}
	})
	defer stop()
	free := uint64(50 << 30)
	if low {
		free = 1
	}
	h.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: free, TotalBytes: 100 << 30, UsedBytes: 100<<30 - free})
	select {
	case <-reached:
	case <-time.After(time.Minute):
		h.t.Fatalf("low on disk: still not %v", low)
	}
}

// blockings returns what NotifyBlocked tells.
func nextBlocking(t *testing.T, c <-chan amqp091.Blocking) amqp091.Blocking {
	t.Helper()
	select {
	case b := <-c:
		return b
	case <-time.After(time.Minute):
		t.Fatal("nothing told of blocked or unblocked")
	}
	return amqp091.Blocking{}
}

func publish(t *testing.T, ch *amqp091.Channel, queue, body string) *amqp091.DeferredConfirmation {
	t.Helper()
	d, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp091.Publishing{Body: []byte(body), DeliveryMode: 2})
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return d
}

func confirmed(t *testing.T, d *amqp091.DeferredConfirmation) {
	t.Helper()
	select {
	case <-d.Done():
		if !d.Acked() {
			t.Fatal("the publish was refused")
		}
	case <-time.After(time.Minute):
		t.Fatal("the publish is not confirmed")
	}
}

// TestBlockedPublisherGoesOn fills the disk under a publisher that goes on
// publishing: all is confirmed, in order, once there is room, and consumers
// drain meanwhile.
func TestBlockedPublisherGoesOn(t *testing.T) {
	h := newHarness(t)
	publisher, consumer := h.connect(), h.connect()
	blockings := publisher.NotifyBlocked(make(chan amqp091.Blocking, 4))
	untold := consumer.NotifyBlocked(make(chan amqp091.Blocking, 4))
	ch := openChannel(t, publisher)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	confirmed(t, publish(t, ch, "q", "0"))

	h.lowOnDisk(true)
	first := publish(t, ch, "q", "1")
	if b := nextBlocking(t, blockings); !b.Active || b.Reason != "low on disk" {
		t.Fatalf("got %+v, want blocked for low on disk", b)
	}
	second := publish(t, ch, "q", "2")
	deliveries, err := openChannel(t, consumer).Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := receive(t, deliveries)
	if err := d.Ack(false); err != nil || string(d.Body) != "0" {
		t.Fatalf("got %q, %v", d.Body, err)
	}
	// Another channel of the blocked connection serves what publishes nothing.
	if _, err := openChannel(t, publisher).QueueDeclarePassive("q", true, false, false, false, nil); err != nil {
		t.Fatalf("beside a held publish: %v", err)
	}
	if first.Acked() || second.Acked() {
		t.Fatal("confirmed while the disk is low")
	}

	h.lowOnDisk(false)
	confirmed(t, first)
	confirmed(t, second)
	if b := nextBlocking(t, blockings); b.Active {
		t.Fatalf("got %+v, want unblocked", b)
	}
	confirmed(t, publish(t, ch, "q", "3"))
	for i := 1; i <= 3; i++ {
		if d := receive(t, deliveries); string(d.Body) != strconv.Itoa(i) {
			t.Fatalf("got %q, want %d", d.Body, i)
		}
	}
	if len(untold) > 0 {
		t.Error("a connection that only consumes was told")
	}
}

// TestCloseWhileBlocked closes a connection whose publish is held: the client
// is answered, and is told that the publish was not taken.
func TestCloseWhileBlocked(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	blockings := conn.NotifyBlocked(make(chan amqp091.Blocking, 1))
	ch := openChannel(t, conn)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	h.lowOnDisk(true)
	if err := ch.Publish("", "q", false, false, amqp091.Publishing{Body: make([]byte, 300<<10)}); err != nil {
		t.Fatal(err)
	}
	nextBlocking(t, blockings)
	err := conn.CloseDeadline(time.Now().Add(5 * time.Second))
	if e, ok := errors.AsType[*amqp091.Error](err); !ok || e.Code != 506 {
		t.Errorf("close: got %v, want 506", err)
	}
	if !conn.IsClosed() {
		t.Error("the connection is open")
	}

	confirming := h.connect()
	blockings = confirming.NotifyBlocked(make(chan amqp091.Blocking, 1))
	ch = openChannel(t, confirming)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	d := publish(t, ch, "q", "never confirmed")
	nextBlocking(t, blockings)
	if err := confirming.CloseDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Errorf("close with confirms: %v", err)
	}
	if d.Acked() {
		t.Error("confirmed what was not taken")
	}
	h.lowOnDisk(false)
	st, err := h.broker.CheckQueue("/", "q", "")
	if err != nil || st.Ready != 0 {
		t.Errorf("queue: %+v, %v, want nothing in it", st, err)
	}
}

// TestBlockedConnectionIsNotReadForEver sends far more than is held: it comes
// to a stop, and all of it is there when the alarm has ended.
func TestBlockedConnectionIsNotReadForEver(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	ch := openChannel(t, conn)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	h.lowOnDisk(true)
	const messages, size = 400, 64 << 10
	sent := make(chan *amqp091.DeferredConfirmation, messages)
	failed := make(chan error, 1)
	go func() {
		defer close(sent)
		for range messages {
			d, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp091.Publishing{Body: make([]byte, size), DeliveryMode: 2})
			if err != nil {
				failed <- err
				return
			}
			sent <- d
		}
	}()
	stalled := time.NewTicker(300 * time.Millisecond)
	defer stalled.Stop()
	for n := -1; n != len(sent); <-stalled.C {
		n = len(sent)
	}
	if len(sent) == messages {
		t.Errorf("%d MiB were taken from the socket while the disk is low", messages*size>>20)
	}
	h.lowOnDisk(false)
	n := 0
	for d := range sent {
		confirmed(t, d)
		n++
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	if st, err := h.broker.CheckQueue("/", "q", ""); err != nil || n != messages || st.Ready != messages {
		t.Errorf("%d sent, queue %+v, %v", n, st, err)
	}
}

// TestHeldFrames speaks in frames: the order of a channel stays, others go on,
// and heartbeats keep the connection while nothing else is said.
func TestHeldFrames(t *testing.T) {
	h := newHarness(t)
	r := h.dial()
	r.login("guest")
	r.openChannel(2)
	r.send(1, &wire.QueueDeclare{Queue: "q", Durable: true})
	expect[*wire.QueueDeclareOK](r)
	h.lowOnDisk(true)
	publish := func(channel uint16, body string) {
		b := wire.AppendMethod(nil, channel, &wire.BasicPublish{RoutingKey: []byte("q")})
		r.write(wire.AppendContent(b, channel, 4096, []byte{0, 0}, []byte(body)))
	}
	publish(1, "first")
	publish(1, "second")
	r.send(1, &wire.QueueDeclare{Queue: "q", Passive: true}) // held behind the publishes
	r.send(2, &wire.QueueDeclare{Queue: "q", Passive: true})
	if ch, m := r.method(); ch != 2 || m.(*wire.QueueDeclareOK).MessageCount != 0 {
		t.Fatalf("got %+v on channel %d", m, ch)
	}
	publish(2, "third")
	r.send(1, &wire.ChannelClose{})
	r.send(2, &wire.BasicGet{Queue: "q"})
	r.openChannel(3) // so all before was read
	h.lowOnDisk(false)
	if ch, m := r.method(); ch != 1 || m.(*wire.QueueDeclareOK).MessageCount != 3 {
		t.Fatalf("got %+v on channel %d, want 3 messages", m, ch)
	}
	expect[*wire.ChannelCloseOK](r)
	expect[*wire.BasicGetOK](r)
}

// TestBlockedAtShutdown stops the server while connections are held back.
func TestBlockedAtShutdown(t *testing.T) {
	h := newHarness(t, func(c *amqp.Config, _ *core.Config) { c.CloseTimeout = time.Second })
	conn := h.connect()
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	blockings := conn.NotifyBlocked(make(chan amqp091.Blocking, 1))
	ch := openChannel(t, conn)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	h.lowOnDisk(true)
	for range 3 {
		if err := ch.Publish("", "q", false, false, amqp091.Publishing{Body: make([]byte, 100<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	nextBlocking(t, blockings)
	h.stop()
	select {
	case e := <-closed:
		if e == nil || e.Code != 320 {
			t.Errorf("got %v, want 320", e)
		}
	case <-time.After(time.Minute):
		t.Fatal("not closed")
	}
}

func TestDurabilityArgument(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	if _, err := openChannel(t, conn).QueueDeclare("q", true, false, false, false, amqp091.Table{"x-durability": "os"}); err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{"sometimes", int32(1), nil, "memory"} {
		_, err := openChannel(t, conn).QueueDeclare("q", true, false, false, false, amqp091.Table{"x-durability": value})
		if e, ok := errors.AsType[*amqp091.Error](err); !ok || e.Code != 406 {
			t.Errorf("%v: got %v, want 406", value, err)
		}
	}
}

// TestHeartbeatsWhileBlocked keeps a connection blocked for longer than its
// heartbeats last: one that is still read, and one that is not read any more.
func TestHeartbeatsWhileBlocked(t *testing.T) {
	h := newHarness(t)
	var all []*amqp091.DeferredConfirmation
	for _, publishes := range []int{1, 8} {
		conn, err := amqp091.DialConfig("amqp://guest:guest@"+h.addr+"/", amqp091.Config{Heartbeat: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ch := openChannel(t, conn)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		blockings := conn.NotifyBlocked(make(chan amqp091.Blocking, 1))
		h.lowOnDisk(true)
		for range publishes {
			all = append(all, publish(t, ch, "q", string(make([]byte, 20<<10))))
		}
		nextBlocking(t, blockings)
	}
	<-time.After(3500 * time.Millisecond) // what is asked for is that nothing happens
	h.lowOnDisk(false)
	for _, d := range all {
		confirmed(t, d)
	}
}
