package mqtt_test

import (
	"fmt"
	"strconv"
	"testing"
)

func TestQoS1BothWays(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v5=%v", v5), func(t *testing.T) {
			w := newWorld(t)
			sub, _ := w.connect(connect{v5: v5, clean: true, id: "sub"})
			sub.subscribed(1, "a/+", 1, 1)
			pub, _ := w.connect(connect{v5: v5, clean: true, id: "pub"})
			pub.send(pub.publish(2, 7, "a/b", "hello"))
			pub.expect("PUBACK", ack(0x40, 7))
			sub.expect("PUBLISH", sub.publish(2, 1, "a/b", "hello"))
			sub.send(ack(0x40, 1))
			sub.send(ping)
			sub.expect("PINGRESP", pong)
		})
	}
}

func TestQoS0(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{clean: true, id: "sub"})
	sub.subscribed(1, "#", 2, 2)
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	for i := range 100 {
		pub.send(pub.publish(0, 0, "t", strconv.Itoa(i)))
	}
	for i := range 100 {
		sub.expect("PUBLISH", sub.publish(0, 0, "t", strconv.Itoa(i)))
	}
}

func TestQoS2BothWays(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			w := newWorld(t)
			sub, _ := w.connect(connect{clean: clean, id: "sub"})
			sub.subscribed(1, "#", 2, 2)
			pub, _ := w.connect(connect{clean: clean, id: "pub"})
			pub.send(pub.publish(4, 9, "t", "once"))
			pub.expect("PUBREC", ack(0x50, 9))
			pub.send(pub.publish(4|8, 9, "t", "once")) // again: the same message
			pub.expect("PUBREC", ack(0x50, 9))
			pub.send(ack(0x62, 9))
			pub.expect("PUBCOMP", ack(0x70, 9))
			sub.expect("PUBLISH", sub.publish(4, 1, "t", "once"))
			sub.send(ack(0x50, 1))
			sub.expect("PUBREL", ack(0x62, 1))
			sub.send(ack(0x70, 1))
			sub.silent("after PUBCOMP")
		})
	}
}

func TestPipelinedPublishes(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{id: "sub"})
	sub.subscribed(1, "t", 1, 1)
	sub.send(disconnect)
	sub.closed("after DISCONNECT")
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	const n = 5000
	go func() {
		for i := range n {
			b := pub.publish(2, uint16(i+1), "t", strconv.Itoa(i))
			if _, err := pub.conn.Write(b); err != nil {
				return
			}
		}
	}()
	for i := range n {
		pub.expect("PUBACK", ack(0x40, uint16(i+1)))
	}
	w.crash()
	sub, ack0 := w.connect(connect{id: "sub"})
	if ack0.body[0] != 1 {
		t.Fatal("session present: got false, want true")
	}
	for i := range n {
		p := sub.read()
		if want := strconv.Itoa(i); string(p.body[5:]) != want {
			t.Fatalf("message %d: got %v, want payload %s", i, p, want)
		}
		sub.send(ack(0x40, uint16(p.body[3])<<8|uint16(p.body[4])))
	}
}
