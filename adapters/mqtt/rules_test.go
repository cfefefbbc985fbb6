package mqtt_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt"
	"github.com/tidegate/tidegate/core"
)

func TestConnackAnnounces(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) {
		c.MaxSessionExpiry = time.Minute
		c.MaxKeepAlive = 30 * time.Second
		c.MaxPacketSize = 1 << 16
	})
	_, p := w.connect(connect{v5: true, keepAlive: 300, props: []byte{0x11, 0xff, 0xff, 0xff, 0xff}})
	for name, want := range map[string]string{
		"session expiry":      "\x11\x00\x00\x00\x3c",
		"assigned client id":  "\x12\x00\x1fauto-",
		"server keep alive":   "\x13\x00\x1e",
		"receive maximum":     "\x21\x04\x00",
		"topic alias maximum": "\x22\x00\x20",
		"maximum packet size": "\x27\x00\x01\x00\x00",
		"retain":              "\x25\x01",
		"wildcards":           "\x28\x01",
		"identifiers":         "\x29\x01",
		"shared":              "\x2a\x01",
	} {
		if !bytes.Contains(p.body, []byte(want)) {
			t.Errorf("%s: CONNACK %x does not contain %x", name, p.body, want)
		}
	}
}

func TestRefusedConnects(t *testing.T) {
	w := newWorld(t, func(c *mqtt.Config) { c.ConnectTimeout = 200 * time.Millisecond })
	w.user("mute", "pw", "^$", ".*")
	tests := []struct {
		name string
		send []byte
		want []byte // nil: closed without a word
	}{
		{"version", connect{id: "c", version: 9}.bytes(), nil},
		{"version 2", connect{id: "c", version: 2}.bytes(), []byte{0x20, 2, 0, 1}},
		{"no client id", connect{}.bytes(), []byte{0x20, 2, 0, 2}},
		{"reserved flag", connect{id: "c", flags: 1}.bytes(), nil},
		{"not a CONNECT", ping, nil},
		{"nothing at all", nil, nil},
		{"giant", []byte{0x10, 0xff, 0xff, 0xff, 0x7f}, nil},
		{"enhanced authentication", connect{v5: true, id: "c", props: append([]byte{0x15}, str("SCRAM")...)}.bytes(), []byte{0x8c}},
		{"reserved will", connect{v5: true, id: "c", willTopic: "$SYS/x"}.bytes(), []byte{0x90}},
		{"will not allowed", connect{v5: true, id: "c", willTopic: "x", user: "mute", password: "pw"}.bytes(), []byte{0x87}},
		{"trailing byte", connect{v5: true, id: "c", trailingByte: true}.bytes(), []byte{0x81}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := w.dial()
			c.send(test.send)
			switch {
			case test.name == "version":
				if p := c.read(); p.kind != 2 || p.body[1] != 0x84 {
					t.Errorf("got %v, want CONNACK 0x84", p)
				}
			case test.want == nil:
				c.closed(test.name)
			case len(test.want) == 1:
				if p := c.read(); p.kind != 2 || p.body[1] != test.want[0] {
					t.Errorf("got %v, want CONNACK 0x%x", p, test.want)
				}
				c.closed(test.name)
			default:
				c.expect(test.name, test.want)
				c.closed(test.name)
			}
		})
	}
}

// What an MQTT 5 client is told before the connection ends, and that a 3.1.1
// client is cut off without a word.
func TestIllegalPackets(t *testing.T) {
	w := newWorld(t)
	w.user("mute", "pw", "^$", "^$")
	c5, c3 := &client{v5: true}, &client{}
	tests := []struct {
		name   string
		v5, v3 []byte
		reason byte
	}{
		{"second CONNECT", connect{v5: true, id: "x"}.bytes(), connect{id: "x"}.bytes(), 0x82},
		{"CONNACK", raw(0x20, []byte{0, 0}), raw(0x20, []byte{0, 0}), 0x82},
		{"SUBACK", raw(0x90, []byte{0, 1, 0}), raw(0x90, []byte{0, 1, 0}), 0x82},
		{"PINGRESP", pong, pong, 0x82},
		{"AUTH", raw(0xf0, []byte{0x18, 0}), raw(0xf0), 0x8c},
		{"type 0", []byte{0, 0}, []byte{0, 0}, 0x81},
		{"QoS 3", []byte{0x36, 0}, []byte{0x36, 0}, 0x81},
		{"wildcard topic", c5.publish(0, 0, "a/#", ""), c3.publish(0, 0, "a/#", ""), 0x90},
		{"truncated SUBSCRIBE", raw(0x82, []byte{0, 1, 0, 0, 1, 'a'}), raw(0x82, []byte{0, 1, 0, 1, 'a'}), 0x81},
		{"too large", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 0x95},
		{"long length", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, 0x81},
		{"unknown alias", c5.publish(0, 0, "", "", []byte{0x23, 0, 9}), nil, 0x94},
		{"alias 0", c5.publish(0, 0, "t", "", []byte{0x23, 0, 0}), nil, 0x94},
		{"alias over the maximum", c5.publish(0, 0, "t", "", []byte{0x23, 0, 33}), nil, 0x94},
		{"QoS 0 to a reserved topic", c5.publish(0, 0, "$SYS/x", ""), c3.publish(0, 0, "$SYS/x", ""), 0x90},
		{"QoS 1 to a reserved topic", nil, c3.publish(2, 1, "$SYS/x", ""), 0},
		{"PINGREQ with a body", raw(0xc0, []byte{1}), raw(0xc0, []byte{1}), 0x81},
		{"DISCONNECT adds an expiry", raw(0xe0, []byte{0, 5, 0x11, 0, 0, 0, 9}), nil, 0x82},
	}
	for i, test := range tests {
		if test.v5 != nil {
			c, _ := w.connect(connect{v5: true, clean: true, id: fmt.Sprint("v5-", i)})
			c.send(test.v5)
			if p := c.read(); p.kind != 14 || p.body[0] != test.reason {
				t.Errorf("%s: got %v, want DISCONNECT 0x%x", test.name, p, test.reason)
			}
			c.closed(test.name)
		}
		if test.v3 != nil {
			c, _ := w.connect(connect{clean: true, id: fmt.Sprint("v3-", i)})
			c.send(test.v3)
			c.closed(test.name)
		}
	}
}

func TestRefusedPublishes(t *testing.T) {
	w := newWorld(t)
	w.user("mute", "pw", "^$", ".*")
	c, _ := w.connect(connect{v5: true, clean: true, id: "a"})
	c.send(c.publish(2, 1, "$SYS/x", ""))
	if p := c.read(); p.kind != 4 || p.body[2] != 0x90 {
		t.Errorf("got %v, want PUBACK 0x90", p)
	}
	c.send(c.publish(4, 2, "$share/x", ""))
	if p := c.read(); p.kind != 5 || p.body[2] != 0x90 {
		t.Errorf("got %v, want PUBREC 0x90", p)
	}
	c.send(c.publish(2, 3, "nobody", ""))
	c.expect("no matching subscribers", ack(0x40, 3, 0x10))
	mute, _ := w.connect(connect{v5: true, clean: true, id: "m", user: "mute", password: "pw", props: []byte{0x17, 0}})
	mute.send(mute.publish(2, 4, "t", ""))
	mute.expect("not authorised, without a reason string", ack(0x40, 4, 0x87))
	mute.send(mute.publish(0, 0, "t", ""))
	if p := mute.read(); p.kind != 14 || p.body[0] != 0x87 {
		t.Errorf("got %v, want DISCONNECT 0x87", p)
	}
}

func TestRefusedFilters(t *testing.T) {
	w := newWorld(t)
	w.user("deaf", "pw", ".*", "^$")
	c5, _ := w.connect(connect{v5: true, clean: true, id: "a"})
	c3, _ := w.connect(connect{clean: true, id: "b"})
	for i, test := range []struct {
		filter string
		code   byte
	}{
		{"$share//t", 0x8f},
		{"$queue/", 0x8f},
		{"$stream/s", 0x8f},
		{"a#", 0x8f},
		{"a/#/b", 0x8f},
		{"", 0x8f},
		{strings.Repeat("/", 128), 0x8f},
		{"$SYS/#", 0x87}, // has no tag for it
	} {
		id := uint16(i + 1)
		c5.subscribed(id, test.filter, 1, test.code)
		c3.subscribed(id, test.filter, 1, min(test.code, 0x80))
	}
	deaf, _ := w.connect(connect{v5: true, clean: true, id: "d", user: "deaf", password: "pw"})
	deaf.subscribed(1, "t", 1, 0x87)
	c5.send(c5.unsubscribe(50, "none"))
	c5.expect("UNSUBACK", raw(0xb0, u16(50), []byte{0, 0x11}))
	c5.send(c5.unsubscribe(51, "$SYS/#"))
	c5.expect("UNSUBACK", raw(0xb0, u16(51), []byte{0, 0x11}))
	c3.send(c3.unsubscribe(51, "$SYS/#"))
	c3.expect("UNSUBACK", raw(0xb0, u16(51)))
}

func TestKeepAlive(t *testing.T) {
	w := newWorld(t)
	c, _ := w.connect(connect{v5: true, clean: true, id: "c", keepAlive: 1})
	start := time.Now()
	if p := c.read(); p.kind != 14 || p.body[0] != 0x8d {
		t.Errorf("got %v, want DISCONNECT 0x8d", p)
	}
	if d := time.Since(start); d < 1400*time.Millisecond || d > 2500*time.Millisecond {
		t.Errorf("keep alive ended after %v, want about 1.5 s", d)
	}
}

func TestShutdown(t *testing.T) {
	w := newWorld(t)
	c, _ := w.connect(connect{v5: true, clean: true, id: "c"})
	w.cancel()
	if p := c.read(); p.kind != 14 || p.body[0] != 0x8b {
		t.Errorf("got %v, want DISCONNECT 0x8b", p)
	}
	c.closed("shutdown")
}

func TestMaximumPacketSizeOfTheClient(t *testing.T) {
	w := newWorld(t)
	sub, _ := w.connect(connect{v5: true, clean: true, id: "s", props: []byte{0x27, 0, 0, 0, 30}})
	sub.subscribed(1, "t", 1, 1)
	pub, _ := w.connect(connect{clean: true, id: "p"})
	pub.send(pub.publish(2, 1, "t", "this is more than thirty bytes long"))
	pub.expect("PUBACK", ack(0x40, 1))
	pub.send(pub.publish(0, 0, "t", "this is more than thirty bytes long"))
	pub.send(pub.publish(2, 2, "t", "short"))
	pub.expect("PUBACK", ack(0x40, 2))
	p := sub.read()
	if !bytes.HasSuffix(p.body, []byte("short")) {
		t.Errorf("got %v, want the short message", p)
	}
}

func TestErrorTableKnowsEverySentinel(t *testing.T) {
	for _, err := range []error{
		core.ErrNotFound, core.ErrInequivalent, core.ErrLocked, core.ErrInUse, core.ErrNotEmpty, core.ErrReserved,
		core.ErrInvalid, core.ErrUnsupported, core.ErrUnavailable, core.ErrStorage, core.ErrClosed, core.ErrFenced,
		core.ErrNotOwner, core.ErrTooLarge, core.ErrLimit, core.ErrFull, core.ErrPressure,
	} {
		if !mqtt.Knows(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("no reason codes for %v", err)
		}
	}
}
