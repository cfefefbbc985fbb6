package mqtt_test

import (
	"testing"

	"github.com/tidegate/tidegate/metadata"
)

// bound sets the topic permission of a user of namespace "/".
func (w *world) bound(user, write, read string) {
	w.t.Helper()
	w.must(w.cat.PutTopicPermission(w.t.Context(), metadata.TopicPermission{
		User: user, Namespace: "/", Exchange: "amq.topic", Write: write, Read: read,
	}))
}

// ask sends a CONNECT that may be refused and returns the answer.
func (w *world) ask(p connect) packet {
	w.t.Helper()
	c := w.dial()
	c.v5 = p.v5
	c.send(p.bytes())
	return c.read()
}

// TestTopicPermissions has a device that may write below its own client id and
// read commands; topics are seen as routing keys.
func TestTopicPermissions(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	w.bound("device", `^devices\.{client_id}\.`, `^commands\.({client_id}|\*)$`)
	login := connect{v5: true, clean: true, id: "d1", user: "device", password: "pw", props: []byte{0x17, 0}}
	c, _ := w.connect(login)
	c.send(c.publish(2, 1, "devices/d1/temp", ""))
	c.expect("own topic", ack(0x40, 1, 0x10))
	for id, topic := range map[uint16]string{2: "devices/d2/temp", 3: "commands/d1", 4: "devices/d1", 5: "devices/xd1/a"} {
		c.send(c.publish(2, id, topic, ""))
		c.expect("publish to "+topic, ack(0x40, id, 0x87))
	}
	c.send(c.publish(4, 6, "devices/d2/temp", ""))
	c.expect("QoS 2", ack(0x50, 6, 0x87))
	for i, test := range []struct {
		filter string
		code   byte
	}{
		{"commands/d1", 1},
		{"commands/+", 1},
		{"commands/d2", 0x87},
		{"#", 0x87},
		{"commands/#", 0x87},
		{"+/d1", 0x87},
	} {
		c.subscribed(uint16(10+i), test.filter, 1, test.code)
	}

	for topic, code := range map[string]byte{"devices/d1/gone": 0, "devices/d2/gone": 0x87} {
		dying := login
		dying.id, dying.willTopic, dying.props = "d1", topic, nil
		if connack := w.ask(dying); connack.body[1] != code {
			t.Errorf("will to %s: got %v, want code %#x", topic, connack, code)
		}
	}
	wild := login
	wild.id = "+"
	c, _ = w.connect(wild)
	c.send(c.publish(2, 1, "devices/+x/temp", ""))
	if p := c.read(); p.kind != 14 && (p.kind != 4 || p.body[2] != 0x87) {
		t.Errorf("a client id that is a wildcard: got %v", p)
	}
}

// TestPermissionsAreLive takes permissions from connections that have used them.
func TestPermissionsAreLive(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	login := connect{v5: true, id: "d", user: "device", password: "pw", props: []byte{0x11, 0, 0, 1, 0, 0x17, 0}}
	c, _ := w.connect(login)
	c.send(c.publish(2, 1, "t", ""))
	c.expect("allowed", ack(0x40, 1, 0x10))
	c.subscribed(2, "secret/#", 1, 1)
	w.bound("device", "^other$", ".*")
	c.send(c.publish(2, 3, "t", ""))
	c.expect("not allowed any more", ack(0x40, 3, 0x87))

	w.bound("device", ".*", "^other$")
	sender, _ := w.connect(connect{v5: true, clean: true, id: "s"})
	for _, qos := range []byte{0, 2} { // flags of QoS 0 and 1
		sender.send(sender.publish(qos, 7, "secret/a", "x"))
	}
	if p := c.read(); p.kind != 14 || p.body[0] != 0x87 {
		t.Errorf("got %v, want DISCONNECT 0x87", p)
	}
	if connack := w.ask(login); connack.body[1] != 0x87 {
		t.Errorf("resume: got %v, want 0x87", connack)
	}
	w.bound("device", ".*", ".*")
	c, connack := w.connect(login)
	if connack.body[0] != 1 || connack.body[1] != 0 {
		t.Errorf("resume when it is allowed again: got %v", connack)
	}
	if p := c.read(); p.kind != 3 {
		t.Errorf("got %v, want the message that waited", p)
	}
}

// TestClientIDsInPatterns has clients whose ids would be wildcards, or several levels, if
// they were not taken literally.
func TestClientIDsInPatterns(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	w.bound("device", `^%u\.%c\.`, `^%u\.%c\.`)
	for _, test := range []struct {
		id, topic string
		allowed   bool
	}{
		{"d1", "device/d1/x", true},
		{"d1", "device/d2/x", false},
		{"d1", "device/d1", false},
		{"d.1", "device/d.1/x", true},
		{"d.1", "device/d/1/x", false},
		{"d.1", "device/dx1/x", false},
		{"d/1", "device/d/1/x", false},
		{"d/1", "device/d.1/x", false},
		{"+", "device/x/x", false},
		{"*", "device/*/x", false},
		{".*", "device/d1/x", false},
		{"%u", "device/device/x", false},
		{"%u", "device/%u/x", true},
	} {
		c, _ := w.connect(connect{v5: true, clean: true, id: test.id, user: "device", password: "pw"})
		want := []byte{0x10}
		if !test.allowed {
			want = []byte{0x87}
		}
		c.send(c.publish(2, 1, test.topic, ""))
		if p := c.read(); p.kind != 4 || len(p.body) < 3 || p.body[2] != want[0] {
			t.Errorf("client %s publishes to %s: got %v, want reason %x", test.id, test.topic, p, want)
		}
	}
	c, _ := w.connect(connect{v5: true, clean: true, id: "+", user: "device", password: "pw"})
	for i, filter := range []string{"device/+/x", "device/#", "#"} {
		c.subscribed(uint16(i+1), filter, 0, 0x87)
	}
}
