package mqtt_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestAbuseIsCheap sends what is made to cost a server time and memory: it gets the answer
// that the protocol has for it, and all that is allocated meanwhile, on both sides and also
// if it is given back at once, is bounded by what was sent. docs/mqtt.md has the times.
func TestAbuseIsCheap(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 65_535)
	deep := strings.Repeat("/", 65_535)
	filters := func(n int, form string) (list [][]byte) {
		for i := range n {
			list = append(list, append(str(fmt.Sprintf(form, i)), 0))
		}
		return list
	}
	subscribe := func(list [][]byte) []byte {
		return raw(0x82, u16(1), []byte{0}, bytes.Join(list, nil))
	}
	wide := filters(10_000, "%d")
	deepest := filters(4_000, "%d"+strings.Repeat("/", 127))
	names := func(list [][]byte) (names [][]byte) {
		for _, f := range list {
			names = append(names, f[:len(f)-1])
		}
		return names
	}
	properties := bytes.Repeat(user("", ""), 200_000)
	for _, test := range []struct {
		name   string
		send   []byte
		kind   byte // of the answer
		reason byte // its last byte, or that of a DISCONNECT
		bytes  int  // allocated at the most
	}{
		{"a filter of 65,535 levels", subscribe([][]byte{append(str(deep), 0)}), 9, 0x8f, 1 << 20},
		{"filters of 65,535 levels, as many as a packet takes", subscribe(slicesOf(append(str(deep), 0), 18)), 9, 0x8f, 10 << 20},
		{"a topic of 65,535 levels", raw(0x32, str(deep), u16(1), []byte{0}), 14, 0x90, 1 << 20},
		{"a topic of 65,535 bytes", raw(0x32, str(long), u16(1), []byte{0}), 4, 0x10, 2 << 20},
		{"10,000 filters", subscribe(wide), 9, 0, 48 << 20},
		{"10,000 filters once more", subscribe(wide), 9, 0, 48 << 20},
		{"10,000 filters taken back", raw(0xa2, u16(1), []byte{0}, bytes.Join(names(wide), nil)), 11, 0, 48 << 20},
		{"4,000 filters of 128 levels", subscribe(deepest), 9, 0, 96 << 20},
		{"4,000 filters taken back", raw(0xa2, u16(1), []byte{0}, bytes.Join(names(deepest), nil)), 11, 0, 96 << 20},
		{"a filter of 65,535 bytes", subscribe([][]byte{append(str(long), 0)}), 9, 0, 4 << 20},
		{"200,000 user properties", raw(0x32, str("t"), u16(1), varint(len(properties)), properties), 4, 0x10, 6 << 20},
		{"a giant length", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 14, 0x95, 1 << 18},
		{"a length without an end", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 14, 0x81, 1 << 18},
		{"a topic longer than its packet", raw(0x30, []byte{0xff, 0xff, 'x'}), 14, 0x81, 1 << 18},
		{"properties longer than their packet", raw(0x30, str("t"), []byte{0xff, 0xff, 0x7f}), 14, 0x81, 1 << 18},
	} {
		c, _ := w.connect(connect{v5: true, id: "c", props: []byte{0x11, 0, 0, 0, 60}})
		began, before := time.Now(), allocated()
		c.send(test.send)
		p := c.read()
		took, cost := time.Since(began), int(allocated()-before)
		t.Logf("%s: %v, %d bytes allocated for %d", test.name, took.Round(10*time.Microsecond), cost, len(test.send))
		reason := p.body[len(p.body)-1]
		if p.kind == 14 {
			reason = p.body[0]
		}
		if p.kind != test.kind || reason != test.reason {
			t.Errorf("%s: got packet %d with reason %#x, want %d with %#x", test.name, p.kind, reason, test.kind, test.reason)
		}
		if cost > test.bytes {
			t.Errorf("%s: %d bytes were allocated, want at most %d", test.name, cost, test.bytes)
		}
		c.conn.Close()
		w.eventually("the connection ends", func() bool { return w.server.Stats().Connections == 0 })
	}
}

// TestAliasAbuseIsBounded sets all aliases to the longest topics, again and again.
func TestAliasAbuseIsBounded(t *testing.T) {
	w := newWorld(t)
	c, _ := w.connect(connect{v5: true, clean: true, id: "c"})
	const rounds = 20
	before := held()
	var sent int
	for round := range rounds {
		for alias := byte(1); alias <= 32; alias++ {
			topic := strings.Repeat(string('a'+rune(round)), 65_535)
			p := raw(0x30, str(topic), block([]byte{0x23, 0, alias}))
			sent += len(p)
			c.send(p)
		}
	}
	c.send(ping)
	c.expect("PINGRESP", raw(0xd0))
	if grown := int(held()) - int(before); grown > 32*(64<<10)*3/2+(4<<20) {
		t.Errorf("%d bytes are held after %d of aliases, want what 32 topics take", grown, sent)
	}
	c.send(raw(0x30, str(""), block([]byte{0x23, 0, 33})))
	if p := c.read(); p.kind != 14 || p.body[0] != 0x94 {
		t.Errorf("got %v, want DISCONNECT 0x94", p)
	}
}

func slicesOf(b []byte, n int) (list [][]byte) {
	for range n {
		list = append(list, b)
	}
	return list
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
