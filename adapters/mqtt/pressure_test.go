package mqtt_test

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/adapters/mqtt"
)

// lowOnDisk raises or ends the alarm and returns when it is so.
func (w *world) lowOnDisk(low bool) {
	w.t.Helper()
	free := uint64(50 << 30)
	if low {
		free = 1
	}
	w.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: free, TotalBytes: 100 << 30, UsedBytes: 100<<30 - free})
	w.eventually("alarm "+strconv.FormatBool(low), func() bool { return w.broker.Pressure().Disk == low })
}

func TestQuotaExceededUnderPressure(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{v5: true, id: "sub", props: []byte{0x11, 0, 0, 0, 60}})
	sub.subscribed(1, "t", 2, 2)
	live, _ := w.connect(connect{v5: true, clean: true, id: "live"})
	live.subscribed(1, "+", 0, 0)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "pub"})
	w.lowOnDisk(true)

	quota := func(first byte, id uint16) []byte { return ack(first, id, 0x97) }
	pub.send(pub.publish(2, 1, "t", "refused"))
	p := pub.read()
	if got := raw(p.kind<<4, p.body[:3]); !bytes.Equal(got, quota(0x40, 1)) {
		t.Fatalf("PUBACK: got %v, want 0x97", p)
	}
	if !bytes.Contains(p.body, []byte("low on disk")) {
		t.Errorf("PUBACK says %q, want the reason", p.body)
	}
	for range 2 { // the identifier is free after the refusal
		pub.send(pub.publish(4, 2, "t", "refused"))
		if p := pub.read(); p.kind != 5 || p.body[2] != 0x97 {
			t.Fatalf("PUBREC: got %v, want 0x97", p)
		}
	}
	pub.send(pub.publish(2, 2, "only/live", "none")) // nobody: needs no room
	if p := pub.read(); p.kind != 4 || p.body[2] != 0x10 {
		t.Fatalf("PUBACK: got %v, want 0x10", p)
	}
	pub.send(pub.publish(2, 3, "live", "QoS 1"))
	pub.expect("PUBACK", ack(0x40, 3))
	live.expect("to a QoS 0 subscriber", live.publish(0, 0, "live", "QoS 1"))
	pub.send(pub.publish(1, 0, "live", "QoS 0, retained"))
	live.expect("shed, but live", live.publish(0, 0, "live", "QoS 0, retained"))
	if got := w.broker.Stats().Shed; got != 1 {
		t.Errorf("shed %d, want 1", got)
	}
	sub.silent("refused")
	live.silent("refused")

	w.lowOnDisk(false)
	pub.send(pub.publish(4, 2, "t", "taken"))
	pub.expect("PUBREC", ack(0x50, 2))
	pub.send(ack(0x62, 2))
	pub.expect("PUBCOMP", ack(0x70, 2))
	sub.expect("PUBLISH", sub.publish(4, 1, "t", "taken"))
}

// TestHeldUnderPressure publishes with 3.1.1: the answers come when there is
// room, in order, and acks and pings are served meanwhile.
func TestHeldUnderPressure(t *testing.T) {
	w := newWorld(t)
	pub, _ := w.connect(connect{id: "pub"})
	pub.subscribed(1, "backlog", 1, 1)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 2, 2)
	other, _ := w.connect(connect{clean: true, id: "other"})
	other.send(other.publish(2, 1, "backlog", "x"))
	other.expect("PUBACK", ack(0x40, 1))
	w.lowOnDisk(true)

	pub.expect("a delivery", pub.publish(2, 1, "backlog", "x"))
	pub.send(pub.publish(2, 10, "t", "1"))
	pub.send(pub.publish(4, 11, "t", "2"))
	pub.send(ack(0x40, 1)) // settles the delivery
	pub.send(ping)
	pub.expect("PINGRESP", pong)
	pub.send(pub.publish(2, 12, "t", "3"))
	w.eventually("settled", func() bool { return w.broker.Stats().Settled == 1 })
	pub.silent("the answers are withheld")

	w.lowOnDisk(false)
	pub.expect("PUBACK", ack(0x40, 10))
	pub.expect("PUBREC", ack(0x50, 11))
	pub.expect("PUBACK", ack(0x40, 12))
	pub.send(ack(0x62, 11))
	pub.expect("PUBCOMP", ack(0x70, 11))
	for i, flags := range []byte{2, 4, 2} {
		sub.expect("PUBLISH", sub.publish(flags, uint16(i+1), "t", strconv.Itoa(i+1)))
	}
	pub.send(pub.publish(2, 13, "t", "4"))
	pub.expect("PUBACK", ack(0x40, 13))
}

// TestOneWindowIsHeld sends more than a window: it is not read until there is
// room, and then all of it is.
func TestOneWindowIsHeld(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) { c.ReceiveMaximum = 3 })
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	w.lowOnDisk(true)
	for i := range uint16(5) {
		pub.send(pub.publish(2, i+1, "t", "x"))
	}
	pub.send(ping)
	pub.silent("the window is full")
	w.lowOnDisk(false)
	var answers []byte
	for range 6 {
		if p := pub.read(); p.kind == 4 { // the PINGRESP waits for nothing
			answers = append(answers, p.body[1])
		}
	}
	if want := []byte{1, 2, 3, 4, 5}; !bytes.Equal(answers, want) {
		t.Errorf("PUBACKs of %v, want %v", answers, want)
	}
}

// TestHeldIsBounded sends large publishes until the socket takes no more.
func TestHeldIsBounded(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	w.lowOnDisk(true)
	body := string(make([]byte, 512<<10))
	sent := 0
	for ; sent < 100; sent++ {
		w.must(pub.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)))
		if _, err := pub.conn.Write(pub.publish(2, uint16(sent+1), "t", body)); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	if sent == 100 {
		t.Fatal("50 MiB were taken while the disk is low")
	}
	w.lowOnDisk(false)
	for i := range sent {
		pub.expect("PUBACK", ack(0x40, uint16(i+1)))
	}
}

// TestHeldAndLost loses the connection of a publisher: what it held was never
// acknowledged, and comes again with its next connection.
func TestHeldAndLost(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 2, 2)
	pub, _ := w.connect(connect{id: "pub"})
	w.lowOnDisk(true)
	pub.send(pub.publish(4, 1, "t", "once"))
	pub.send(ping)
	pub.expect("PINGRESP", pong)
	again, _ := w.connect(connect{id: "pub"}) // takes the session over
	pub.closed("taken over")
	again.send(again.publish(4|8, 1, "t", "once"))
	again.send(ping)
	again.expect("PINGRESP", pong)
	w.lowOnDisk(false)
	again.expect("PUBREC", ack(0x50, 1))
	sub.expect("PUBLISH", sub.publish(4, 1, "t", "once"))
	sub.silent("once")
}

// TestBlockedReaderIsTakenOver has the client come again while its first
// connection waits for room to hold more.
func TestBlockedReaderIsTakenOver(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) { c.ReceiveMaximum = 1 })
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{id: "pub"})
	w.lowOnDisk(true)
	for i := range uint16(3) {
		pub.send(pub.publish(2, i+1, "t", "x"))
	}
	pub.silent("not read any more")
	again, _ := w.connect(connect{id: "pub"})
	pub.closed("taken over")
	w.eventually("the first has ended", func() bool { return w.server.Stats().Connections == 2 })
	again.send(ping)
	again.expect("PINGRESP", pong)
}

func TestWillWaitsForRoom(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "will", 1, 1)
	c, _ := w.connect(connect{clean: true, id: "c", willTopic: "will", willPayload: "gone", willQoS: 1})
	w.lowOnDisk(true)
	c.conn.Close()
	w.eventually("the will was tried", func() bool { return w.broker.Stats().Blocked > 0 })
	w.lowOnDisk(false)
	sub.expect("will", sub.publish(2, 1, "will", "gone"))
}
