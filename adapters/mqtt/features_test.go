package mqtt_test

import (
	"bytes"
	"testing"
	"time"
)

func TestRetained(t *testing.T) {
	w := newWorld(t)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "pub"})
	pub.send(pub.publish(3, 1, "r/1", "kept"))
	if p := pub.read(); p.kind != 4 {
		t.Fatalf("got %v, want PUBACK", p)
	}
	c, _ := w.connect(connect{v5: true, clean: true, id: "c"})
	c.subscribed(1, "r/+", 1, 1)
	c.expect("retained", c.publish(3, 1, "r/1", "kept"))
	c.subscribed(2, "r/+", 1|0x10, 1) // only for a new subscription
	c.subscribed(3, "r/1", 1|0x20, 1) // never
	c.silent("no retained message")
	c.subscribed(4, "r/+", 1, 1)
	c.expect("retained again", c.publish(3, 2, "r/1", "kept"))

	pub.send(pub.publish(3, 2, "r/1", "live")) // retain is for the store
	pub.expect("PUBACK", ack(0x40, 2))
	c.expect("not retained", c.publish(2, 3, "r/1", "live"))
	asPublished, _ := w.connect(connect{v5: true, clean: true, id: "rap"})
	asPublished.subscribed(1, "r/+", 1|8|0x20, 1)
	pub.send(pub.publish(3, 3, "r/1", "")) // deletes
	pub.expect("PUBACK", ack(0x40, 3))
	asPublished.expect("as published", asPublished.publish(3, 1, "r/1", ""))
	late, _ := w.connect(connect{v5: true, clean: true, id: "late"})
	late.subscribed(1, "r/#", 1, 1)
	late.silent("deleted")
}

// TestRetainedExpires has retained values that end before and after a restart, which
// does not begin their time anew.
func TestRetainedExpires(t *testing.T) {
	w := newWorld(t)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "pub"})
	for id, seconds := range map[string]byte{"short": 1, "long": 100} {
		pub.send(pub.publish(3, 1, "r/"+id, id, []byte{0x02, 0, 0, 0, seconds}))
		pub.expect(id, ack(0x40, 1, 0x10))
	}
	<-time.After(1100 * time.Millisecond)
	for _, when := range []string{"before a restart", "after it"} {
		c, _ := w.connect(connect{v5: true, clean: true, id: "c"})
		c.subscribed(1, "r/+", 1, 1)
		p := c.read()
		if !bytes.HasSuffix(p.body, []byte("long")) {
			t.Fatalf("%s: got %v, want the value that has not expired", when, p)
		}
		if i := bytes.IndexByte(p.body, 0x02); p.body[i+4] >= 100 {
			t.Errorf("%s: %d seconds are left, want less than 100", when, p.body[i+4])
		}
		c.silent(when)
		if when == "before a restart" {
			w.crash()
		}
	}
}

// TestRetainedOfWhatMayBeRead takes the permission to read a topic away.
func TestRetainedOfWhatMayBeRead(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	w.bound("device", ".*", `^open\.`)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "pub"})
	for i, topic := range []string{"open/a", "secret/a"} {
		pub.send(pub.publish(3, uint16(i+1), topic, topic))
		pub.expect(topic, ack(0x40, uint16(i+1), 0x10))
	}
	c, _ := w.connect(connect{v5: true, clean: true, id: "c", user: "device", password: "pw"})
	for i, filter := range []string{"secret/a", "secret/#", "#", "+/a"} {
		c.subscribed(uint16(i+1), filter, 1, 0x87)
	}
	c.subscribed(9, "open/#", 1, 1)
	c.expect("what may be read", c.publish(3, 1, "open/a", "open/a"))
	c.silent("nothing else")
}

func TestNoLocalAndIdentifiers(t *testing.T) {
	w := newWorld(t)
	c, _ := w.connect(connect{v5: true, clean: true, id: "c"})
	c.subscribed(1, "n/#", 1|4, 1)
	c.subscribed(2, "n/a", 2, 2, []byte{0x0b, 7})
	c.subscribed(3, "n/+", 0, 0, []byte{0x0b, 0xc8, 1})
	c.send(c.publish(2, 1, "n/b/c", "own")) // matches the filter that withholds it
	if p := c.read(); p.kind != 4 {
		t.Errorf("got %v, want PUBACK and no PUBLISH", p)
	}
	other, _ := w.connect(connect{v5: true, clean: true, id: "o"})
	other.send(other.publish(2, 1, "n/a", "x"))
	other.expect("PUBACK", ack(0x40, 1))
	p := c.read()
	if p.flags != 2 || !bytes.Contains(p.body, []byte{0x0b, 7}) || !bytes.Contains(p.body, []byte{0x0b, 0xc8, 1}) {
		t.Errorf("got %v, want one copy of QoS 1 with both identifiers", p)
	}
	c.silent("one copy")
}

func TestTopicAliases(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{v5: true, clean: true, id: "s", props: []byte{0x22, 0, 1}})
	sub.subscribed(1, "#", 1, 1)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "p"})
	pub.send(pub.publish(2, 1, "long/topic", "1", []byte{0x23, 0, 5}))
	pub.send(pub.publish(2, 2, "", "2", []byte{0x23, 0, 5}))
	pub.expect("1", ack(0x40, 1))
	pub.expect("2", ack(0x40, 2))
	sub.expect("with topic and alias", sub.publish(2, 1, "long/topic", "1", []byte{0x23, 0, 1}))
	sub.expect("alias alone", sub.publish(2, 2, "", "2", []byte{0x23, 0, 1}))
	pub.send(pub.publish(2, 3, "other", "3"))
	sub.expect("no alias left", sub.publish(2, 3, "other", "3"))
}

func TestPropertiesAndExpiry(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{v5: true, id: "s", props: []byte{0x11, 0, 0, 1, 0}})
	sub.subscribed(1, "t", 1, 1)
	sub.send(disconnect)
	sub.closed("bye")
	old, _ := w.connect(connect{id: "old"})
	old.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{v5: true, clean: true, id: "p"})
	props := bytes.Join([][]byte{user("b", "2"), user("a", "1"), user("b", "3")}, nil)
	pub.send(pub.publish(2, 1, "t", "gone", []byte{0x02, 0, 0, 0, 1}))
	pub.send(pub.publish(2, 2, "t", "stays", append([]byte{0x02, 0, 0, 0, 100}, props...)))
	pub.expect("1", ack(0x40, 1))
	pub.expect("2", ack(0x40, 2))
	old.expect("3.1.1 has no properties", old.publish(2, 1, "t", "gone"))
	old.expect("3.1.1 has no properties", old.publish(2, 2, "t", "stays"))
	expired := time.NewTimer(1200 * time.Millisecond)
	<-expired.C
	sub, _ = w.connect(connect{v5: true, id: "s", props: []byte{0x11, 0, 0, 1, 0}})
	p := sub.read()
	if !bytes.HasSuffix(p.body, []byte("stays")) || !bytes.Contains(p.body, props) {
		t.Fatalf("got %v, want the message that has not expired, with its user properties in order", p)
	}
	if i := bytes.IndexByte(p.body, 0x02); p.body[i+4] >= 100 || p.body[i+4] < 97 {
		t.Errorf("remaining expiry: got %d, want just under 100", p.body[i+4])
	}
}

func TestWill(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{v5: true, clean: true, id: "s"})
	sub.subscribed(1, "will/#", 1, 1)
	lost, _ := w.connect(connect{
		v5: true, id: "lost", willTopic: "will/lost", willPayload: "", willQoS: 1,
		willProps: append([]byte{0x18, 0, 0, 0, 0}, user("k", "v")...),
	})
	lost.conn.Close()
	sub.expect("will", sub.publish(2, 1, "will/lost", "", user("k", "v")))

	polite, _ := w.connect(connect{v5: true, clean: true, id: "polite", willTopic: "will/polite", willPayload: "x"})
	polite.send(disconnect)
	polite.closed("bye")
	asked, _ := w.connect(connect{v5: true, clean: true, id: "asked", willTopic: "will/asked", willPayload: "x"})
	asked.send(raw(0xe0, []byte{4})) // with will, in one byte
	sub.expect("asked for", sub.publish(0, 0, "will/asked", "x"))

	taken := connect{v5: true, id: "taken", willTopic: "will/taken", willPayload: "x", props: []byte{0x11, 0, 0, 0, 60}}
	first, _ := w.connect(taken)
	w.connect(taken)
	sub.expect("takeover", sub.publish(0, 0, "will/taken", "x"))
	if p := first.read(); p.kind != 14 {
		t.Errorf("got %v, want DISCONNECT", p)
	}
}

func TestDelayedWill(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{clean: true, id: "s"})
	sub.subscribed(1, "will", 0, 0)
	c := connect{
		v5: true, id: "c", willTopic: "will", willPayload: "x",
		willProps: []byte{0x18, 0, 0, 0, 1}, props: []byte{0x11, 0, 0, 0, 60},
	}
	first, _ := w.connect(c)
	first.conn.Close()
	w.eventually("connection ends", func() bool { return w.server.Stats().Connections == 1 })
	second, _ := w.connect(c) // back in time
	sub.silent("cancelled")
	second.conn.Close()
	start := time.Now()
	sub.expect("after the delay", sub.publish(0, 0, "will", "x"))
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("will came after %v, want 1 s", d)
	}
}

func TestManyPacketsInOneWrite(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	all := connect{clean: true, id: "c"}.bytes()
	all = append(all, c.subscribe(1, "t", 0)...)
	all = append(all, c.publish(2, 2, "t", "x")...)
	all = append(all, ping...)
	c.send(all)
	c.expect("CONNACK", []byte{0x20, 2, 0, 0})
	c.expect("SUBACK", raw(0x90, u16(1), []byte{0}))
	got := map[byte]bool{}
	for range 3 {
		got[c.read().kind] = true
	}
	if !got[3] || !got[4] || !got[13] {
		t.Errorf("got packet types %v, want PUBLISH, PUBACK and PINGRESP", got)
	}
}
