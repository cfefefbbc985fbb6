package mqtt_test

import "testing"

// TestExclusive has subscriptions that only one session may have.
func TestExclusive(t *testing.T) {
	w := newWorld(t)
	kept := connect{v5: true, id: "first", props: []byte{0x11, 0, 0, 1, 0}}
	first, _ := w.connect(kept)
	first.subscribed(1, "$exclusive/job/1", 1, 1)
	first.subscribed(2, "$exclusive/job/1", 2, 2) // its own, with other options
	second, _ := w.connect(connect{v5: true, clean: true, id: "second"})
	second.subscribed(1, "$exclusive/job/1", 1, 0x97)
	second.subscribed(2, "$exclusive/job/2", 1, 1)
	old, _ := w.connect(connect{clean: true, id: "old"})
	old.subscribed(1, "$exclusive/job/1", 1, 0x80)
	old.subscribed(2, "job/1", 1, 1) // is not asked

	pub, _ := w.connect(connect{v5: true, clean: true, id: "pub"})
	pub.send(pub.publish(0, 0, "job/1", "x"))
	first.expect("exclusive", first.publish(0, 0, "job/1", "x"))
	old.expect("not exclusive", old.publish(0, 0, "job/1", "x"))
	second.silent("refused")

	first.conn.Close()
	w.crash() // the session is away, and has it still
	second, _ = w.connect(connect{v5: true, clean: true, id: "second"})
	second.subscribed(1, "$exclusive/job/1", 1, 0x97)
	second.subscribed(2, "$exclusive/job/2", 1, 1) // the session that had it has ended
	first, _ = w.connect(kept)
	first.send(first.unsubscribe(3, "$exclusive/job/1"))
	first.expect("UNSUBACK", raw(0xb0, u16(3), []byte{0, 0}))
	second.subscribed(3, "$exclusive/job/1", 1, 1)
	first.subscribed(4, "$exclusive/job/1", 1, 0x97)
	second.subscribed(5, "job/1", 1, 1) // its subscription is not exclusive any more
	first.subscribed(6, "$exclusive/job/1", 1, 1)
}

// TestExclusiveEndsWithItsSession frees a topic by the end of a session.
func TestExclusiveEndsWithItsSession(t *testing.T) {
	w := newWorld(t)
	first, _ := w.connect(connect{v5: true, clean: true, id: "first"})
	first.subscribed(1, "$exclusive/t", 0, 0)
	second, _ := w.connect(connect{v5: true, clean: true, id: "second"})
	second.subscribed(1, "$exclusive/t", 0, 0x97)
	first.send(disconnect)
	first.closed("bye")
	w.eventually("the session has ended", func() bool { return w.broker.Stats().Sessions == 1 })
	second.subscribed(2, "$exclusive/t", 0, 0)
}

func TestExclusiveFilters(t *testing.T) {
	w := newWorld(t)
	w.user("device", "pw", ".*", ".*")
	w.bound("device", ".*", `^open\.`)
	c, _ := w.connect(connect{v5: true, clean: true, id: "c", user: "device", password: "pw"})
	for i, test := range []struct {
		filter string
		code   byte
	}{
		{"$exclusive", 0x8f},
		{"$exclusive/", 0x8f},
		{"$exclusive/open/+", 0x8f},
		{"$exclusive/#", 0x8f},
		{"$exclusive/$SYS/broker/uptime", 0x8f},
		{"$exclusive/$exclusive/open/a", 0x8f},
		{"$Exclusive/open/a", 0x87},
		{"$exclusive/secret/a", 0x87},
		{"$exclusive/open/a", 0},
	} {
		c.subscribed(uint16(i+1), test.filter, 0, test.code)
	}
	other, _ := w.connect(connect{v5: true, clean: true, id: "other"})
	other.subscribed(1, "$exclusive/secret/a", 0, 0) // was not claimed by who may not read it
}
