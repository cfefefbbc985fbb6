package mqtt_test

import (
	"bytes"
	"testing"
)

// withWill is a client with a will of all properties.
func withWill(id string, delay byte, props ...byte) connect {
	return connect{
		v5: true, id: id, willTopic: "will/" + id, willPayload: "gone", willQoS: 1, willRetain: true, props: props,
		willProps: bytes.Join([][]byte{
			{0x18, 0, 0, 0, delay},              // will delay
			{0x01, 1},                           // payload is text
			append([]byte{0x03}, str("t/p")...), // content type
			append([]byte{0x08}, str("re/ply")...),
			append([]byte{0x09}, str("corr")...),
			user("a", "1"), user("a", "1"), user("b", "2"),
		}, nil),
	}
}

// asSent are the properties of its message: all but the delay.
func asSent(c connect) []byte { return c.willProps[5:] }

// TestWillSurvivesAKilledBroker kills the broker under clients that are connected, and
// under one that was lost and whose will is delayed.
func TestWillSurvivesAKilledBroker(t *testing.T) {
	w := newWorld(t)
	watchers := map[string]connect{}
	for _, of := range []string{"clean", "delayed"} {
		watchers[of] = connect{v5: true, id: "watches-" + of, props: []byte{0x11, 0, 0, 1, 0}}
		sub, _ := w.connect(watchers[of])
		sub.subscribed(1, "will/"+of, 1, 1)
	}
	clean := withWill("clean", 0)
	clean.clean = true
	w.connect(clean)
	delayed := withWill("delayed", 1, 0x11, 0, 0, 0, 60)
	lost, _ := w.connect(delayed)
	lost.conn.Close()
	w.eventually("the client is lost", func() bool { return w.server.Stats().Connections == 3 })
	polite, _ := w.connect(withWill("polite", 0, 0x11, 0, 0, 0, 60))
	polite.send(disconnect)
	polite.closed("bye")
	w.crash()
	for of, c := range map[string]connect{"clean": clean, "delayed": delayed} {
		sub, connack := w.connect(watchers[of])
		if connack.body[0] != 1 {
			t.Fatal("the watcher's session is lost")
		}
		p := sub.read() // after a crash it may be marked as sent before
		if got, want := raw(0x30|p.flags&^8, p.body), sub.publish(2, 1, "will/"+of, "gone", asSent(c)); !bytes.Equal(got, want) {
			t.Errorf("will of %s: got %x, want %x", of, got, want)
		}
	}
	late, _ := w.connect(connect{v5: true, clean: true, id: "late"})
	late.subscribed(1, "will/delayed", 1, 1)
	late.expect("retained will", late.publish(3, 1, "will/delayed", "gone", asSent(delayed)))
	w.eventually("no will is left", func() bool { return w.broker.Stats().WillsKept == 0 })
	if n := w.server.Stats().WillsSent; n != 2 {
		t.Errorf("%d wills were sent, want 2", n)
	}
}

// TestWillAfterEveryEnd ends connections in all the ways that leave a will, and in those
// that do not.
func TestWillAfterEveryEnd(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{v5: true, clean: true, id: "s"})
	sub.subscribed(1, "will/#", 0, 0)
	for name, end := range map[string]struct {
		packet []byte // that the client sends last, nil to close without one
		sent   bool
	}{
		"closed":                {nil, true},
		"disconnect":            {disconnect, false},
		"disconnect 0, reason":  {raw(0xe0, []byte{0}), false},
		"disconnect 0, all":     {raw(0xe0, []byte{0, 0}), false},
		"disconnect 4, reason":  {raw(0xe0, []byte{4}), true},
		"disconnect 4, all":     {raw(0xe0, []byte{4, 0}), true},
		"disconnect with error": {raw(0xe0, []byte{0x80}), true},
		"protocol error":        {raw(0x20, []byte{0, 0, 0}), true},
		"malformed":             {raw(0x36, []byte{0}), true},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := w.connect(connect{v5: true, clean: true, id: "c", willTopic: "will/c", willPayload: name})
			if end.packet != nil {
				c.send(end.packet)
			}
			c.conn.Close()
			if end.sent {
				sub.expect(name, sub.publish(0, 0, "will/c", name))
			}
			w.eventually("the connection has ended", func() bool { return w.server.Stats().Connections == 1 })
			if n := w.broker.Stats().WillsKept; n != 0 {
				t.Errorf("%d wills are kept", n)
			}
		})
	}
	c, _ := w.connect(connect{v5: true, clean: true, id: "marker"})
	c.send(c.publish(0, 0, "will/marker", "x"))
	sub.expect("nothing in between", sub.publish(0, 0, "will/marker", "x"))
}

// TestWillIsCheckedAgain takes the permission away before the will is sent: from a client
// that is connected, and over a restart.
func TestWillIsCheckedAgain(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	sub, _ := w.connect(connect{v5: true, clean: true, id: "s"})
	sub.subscribed(1, "#", 0, 0)
	c := connect{v5: true, clean: true, id: "c", user: "device", password: "pw", willTopic: "will", willPayload: "x"}
	one, _ := w.connect(c)
	w.bound("device", "^other$", ".*")
	one.conn.Close()
	w.eventually("denied", func() bool { return w.server.Stats().WillsDenied == 1 })
	w.bound("device", ".*", ".*")
	w.connect(c)
	w.bound("device", "^other$", ".*")
	w.crash()
	w.eventually("denied after the start", func() bool { return w.server.Stats().WillsDenied == 1 })
	w.eventually("no will is left", func() bool { return w.broker.Stats().WillsKept == 0 })
	if n := w.server.Stats().WillsSent; n != 0 {
		t.Errorf("%d wills were sent", n)
	}
}

// TestDelayedWillOutlivesARefusedConnect has a client come back in vain within the delay of
// its will: its session has subscriptions that it may not have any more, or it takes no
// CONNACK of the size that it would get.
func TestDelayedWillOutlivesARefusedConnect(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	sub, _ := w.connect(connect{v5: true, clean: true, id: "s"})
	sub.subscribed(1, "will/#", 0, 0)
	c := withWill("c", 1, 0x11, 0, 0, 0, 60)
	c.user, c.password = "device", "pw"
	one, _ := w.connect(c)
	one.subscribed(1, "secret", 1, 1)
	one.conn.Close()
	w.eventually("the client is lost", func() bool { return w.server.Stats().Connections == 1 })

	again := connect{v5: true, id: "c", user: "device", password: "pw", props: []byte{0x11, 0, 0, 0, 60}}
	w.bound("device", ".*", "^other$")
	if connack := w.ask(again); connack.body[1] != 0x87 {
		t.Fatalf("got %v, want 0x87", connack)
	}
	w.bound("device", ".*", ".*")
	small := again
	small.props = append([]byte{0x27, 0, 0, 0, 8}, again.props...)
	if connack := w.ask(small); connack.body[1] != 0x95 {
		t.Fatalf("got %v, want 0x95", connack)
	}
	sub.expect("the will", sub.publish(0, 0, "will/c", "gone", asSent(c)))
}
