package mqtt_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt"
)

func TestResendAfterReconnect(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	for i, payload := range []string{"a", "b", "c"} {
		pub.send(pub.publish(2, uint16(i+1), "t", payload))
		pub.expect("PUBACK", ack(0x40, uint16(i+1)))
		sub.expect("PUBLISH", sub.publish(2, uint16(i+1), "t", payload))
	}
	sub.send(ack(0x40, 2))
	sub.send(ping)
	sub.expect("PINGRESP", pong)
	sub.conn.Close()
	w.eventually("the server sees it", func() bool { return w.server.Stats().Connections == 1 })
	pub.send(pub.publish(2, 4, "t", "d"))
	pub.expect("PUBACK", ack(0x40, 4))
	sub, got := w.connect(connect{id: "sub"})
	if got.body[0] != 1 {
		t.Error("session present: got false")
	}
	sub.expect("first", sub.publish(2|8, 1, "t", "a"))
	sub.expect("third", sub.publish(2|8, 3, "t", "c"))
	sub.expect("backlog", sub.publish(2, 4, "t", "d"))
}

func TestWindow311(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) { c.Window = 2 })
	sub, _ := w.connect(connect{clean: true, id: "sub"})
	sub.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	for i := range uint16(3) {
		pub.send(pub.publish(2, i+1, "t", "x"))
		pub.expect("PUBACK", ack(0x40, i+1))
	}
	sub.expect("1", sub.publish(2, 1, "t", "x"))
	sub.expect("2", sub.publish(2, 2, "t", "x"))
	sub.silent("window is used up")
	sub.send(ack(0x40, 2))
	sub.expect("3", sub.publish(2, 3, "t", "x"))
}

func TestQoS2SurvivesPowerLoss(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 2, 2)
	pub, _ := w.connect(connect{id: "pub"})
	pub.send(pub.publish(4, 5, "t", "one"))
	pub.expect("PUBREC", ack(0x50, 5))
	sub.expect("PUBLISH", sub.publish(4, 1, "t", "one"))
	w.crash()

	pub, _ = w.connect(connect{id: "pub"})
	pub.send(pub.publish(4|8, 5, "t", "one")) // its PUBREC may have been lost: no second message
	pub.expect("PUBREC", ack(0x50, 5))
	pub.send(ack(0x62, 5))
	pub.expect("PUBCOMP", ack(0x70, 5))
	sub, _ = w.connect(connect{id: "sub"})
	sub.expect("again", sub.publish(4|8, 1, "t", "one"))
	sub.send(ack(0x50, 1))
	sub.expect("PUBREL", ack(0x62, 1))
	w.crash()

	sub, _ = w.connect(connect{id: "sub"})
	sub.expect("PUBREL again", ack(0x62, 1))
	sub.send(ack(0x70, 1))
	sub.silent("exactly once")
	pub, _ = w.connect(connect{id: "pub"})
	pub.send(pub.publish(4, 5, "t", "two")) // released: a new message
	pub.expect("PUBREC", ack(0x50, 5))
	sub.expect("PUBLISH", sub.publish(4, 2, "t", "two"))
}

func TestTakeover(t *testing.T) {
	w := newWorld(t)
	first, _ := w.connect(connect{v5: true, id: "c", props: []byte{0x11, 0, 0, 0, 60}})
	first.subscribed(1, "t", 1, 1)
	second, got := w.connect(connect{v5: true, id: "c", props: []byte{0x11, 0, 0, 0, 60}})
	if got.body[0] != 1 {
		t.Error("session present: got false")
	}
	p := first.read()
	if p.kind != 14 || p.body[0] != 0x8e {
		t.Errorf("got %v, want DISCONNECT 0x8e", p)
	}
	first.closed("taken over")
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	pub.send(pub.publish(2, 1, "t", "x"))
	pub.expect("PUBACK", ack(0x40, 1))
	second.expect("PUBLISH", second.publish(2, 1, "t", "x"))
}

// A client that does not read must not delay its own successor, nor publishers.
func TestStalledSubscriber(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) { c.OutputLimit = 64 << 10; c.Window = 1000 })
	stalled, _ := w.connect(connect{id: "c"})
	stalled.subscribed(1, "t", 1, 1)
	stalled.subscribed(2, "live", 0, 0)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	payload := string(bytes.Repeat([]byte("x"), 60_000))
	for i := range uint16(300) {
		pub.send(pub.publish(2, i+1, "t", payload))
		pub.send(pub.publish(0, 0, "live", payload))
		pub.expect("PUBACK", ack(0x40, i+1))
	}
	w.eventually("drops", func() bool { return w.server.Stats().DroppedSlow > 0 })
	start := time.Now()
	next, _ := w.connect(connect{id: "c"})
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("takeover of a stalled connection: got %v, want at once", d)
	}
	p := next.read()
	if p.kind != 3 {
		t.Errorf("got %v, want a PUBLISH", p)
	}
}

func TestOtherPrincipalIsRefused(t *testing.T) {
	w := newWorld(t)
	w.user("alice", "secret", ".*", ".*")
	owner, _ := w.connect(connect{id: "c"})
	thief := w.dial()
	thief.send(connect{id: "c", user: "alice", password: "secret"}.bytes())
	thief.expect("CONNACK", []byte{0x20, 2, 0, 5})
	thief.closed("refused")
	thief = w.dial()
	thief.send(connect{v5: true, id: "c", user: "alice", password: "secret"}.bytes())
	if p := thief.read(); p.kind != 2 || p.body[1] != 0x87 {
		t.Errorf("got %v, want CONNACK 0x87", p)
	}
	owner.send(ping)
	owner.expect("PINGRESP", pong)
}

func TestCleanStartEndsTheSession(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "c"})
	sub.subscribed(1, "t", 1, 1)
	sub.send(disconnect)
	sub.closed("bye")
	sub, got := w.connect(connect{id: "c", clean: true})
	if got.body[0] != 0 {
		t.Error("session present after clean start: got true")
	}
	sub.send(disconnect)
	sub.closed("bye")
	_, got = w.connect(connect{id: "c"})
	if got.body[0] != 0 {
		t.Error("session present after a clean session: got true")
	}
}

func TestNamespaceFromUserName(t *testing.T) {
	w := newWorld(t)
	w.user("alice", "secret", ".*", ".*")
	here, _ := w.connect(connect{clean: true, id: "a", user: "plant:alice", password: "secret"})
	there, _ := w.connect(connect{clean: true, id: "b", user: "alice", password: "secret"})
	here.subscribed(1, "#", 1, 1)
	there.subscribed(1, "#", 1, 1)
	pub, _ := w.connect(connect{clean: true, id: "a", user: "alice", password: "secret"})
	pub.send(pub.publish(2, 1, "t", "x"))
	pub.expect("PUBACK", ack(0x40, 1))
	there.expect("PUBLISH", there.publish(2, 1, "t", "x"))
	here.silent("another namespace")
	wrong := w.dial()
	wrong.send(connect{clean: true, id: "d", user: "alice", password: "wrong"}.bytes())
	wrong.expect("CONNACK", []byte{0x20, 2, 0, 4})
}

func TestReceiveMaximumOfTheServer(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) { c.ReceiveMaximum = 2 })
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "#", 2, 2)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "pub"})
	for i := range uint16(2) {
		pub.send(pub.publish(4, i+1, "t", "x"))
		pub.expect("PUBREC", ack(0x50, i+1))
	}
	pub.send(pub.publish(4, 3, "t", "x"))
	if p := pub.read(); p.kind != 14 || p.body[0] != 0x93 {
		t.Errorf("got %v, want DISCONNECT 0x93", p)
	}
	old, _ := w.connect(connect{clean: true, id: "old"}) // 3.1.1 waits instead
	for i := range uint16(20) {
		old.send(old.publish(2, i+1, "t", "x"))
	}
	for i := range uint16(20) {
		old.expect("PUBACK", ack(0x40, i+1))
	}
}
