package mqtt_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt"
	"github.com/tidegate/tidegate/core"
)

// seldom leaves the reports that subscriptions ask for.
func seldom(cfg *mqtt.Config) { cfg.SysInterval = time.Hour }

// monitor makes a user with tags.
func (w *world) monitor(name string, tags ...string) {
	w.t.Helper()
	w.user(name, "pw", ".*", ".*")
	u, _ := w.cat.User(name)
	u.Tags = tags
	w.must(w.cat.PutUser(context.Background(), u))
}

// topicAndPayload reads a PUBLISH of QoS 0 as 3.1.1 has it.
func (c *client) topicAndPayload() (topic, payload string) {
	c.t.Helper()
	p := c.read()
	if p.kind != 3 || p.flags != 0 || len(p.body) < 2 {
		c.t.Fatalf("got %v, want a PUBLISH of QoS 0", p)
	}
	n := 2 + int(p.body[0])<<8 + int(p.body[1])
	return string(p.body[2:n]), string(p.body[n:])
}

// TestSys has users with and without the right to see what the broker tells of itself.
func TestSys(t *testing.T) {
	w := newWorld(t, seldom)
	w.monitor("watcher", "monitoring")
	w.monitor("boss", "administrator")
	w.monitor("other", "management")
	_, err := w.broker.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "all", Durable: true})
	w.must(err)
	w.must(w.broker.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "all", Key: "#"}))
	pub, _ := w.connect(connect{clean: true, id: "pub"})
	pub.send(pub.publish(3, 1, "r/1", "kept"))
	pub.expect("PUBACK", ack(0x40, 1))
	everything, _ := w.connect(connect{clean: true, id: "everything", user: "boss", password: "pw"})
	everything.subscribed(1, "#", 0, 0)
	if topic, _ := everything.topicAndRetained(); topic != "r/1" {
		t.Errorf("got %s, want the retained message", topic)
	}

	other, _ := w.connect(connect{v5: true, clean: true, id: "other", user: "other", password: "pw"})
	other.subscribed(1, "$SYS/#", 0, 0x87)
	other.subscribed(2, "$SYS/broker/uptime", 1, 0x87)
	watcher, _ := w.connect(connect{clean: true, id: "watcher", user: "watcher", password: "pw"})
	watcher.subscribed(1, "$SYS/#", 1, 1)
	got := map[string]string{}
	for _, last := got["$SYS/broker/load/connections/15min"]; !last; _, last = got["$SYS/broker/load/connections/15min"] {
		topic, payload := watcher.topicAndPayload()
		got[topic] = payload
	}
	for topic, want := range map[string]string{
		"version": "tidegate version 0.0.0", "clients/connected": "4", "clients/total": "4", "clients/disconnected": "0",
		"publish/messages/received": "1", "messages/received": "1", "retained messages/count": "1",
		"load/publish/received/1min": "0.00",
	} {
		if got["$SYS/broker/"+topic] != want {
			t.Errorf("%s: got %q, want %q", topic, got["$SYS/broker/"+topic], want)
		}
	}
	if !strings.HasSuffix(got["$SYS/broker/uptime"], " seconds") || len(got) < 20 {
		t.Errorf("got %v", got)
	}
	boss, _ := w.connect(connect{clean: true, id: "boss", user: "boss", password: "pw"})
	boss.subscribed(1, "$SYS/broker/version", 0, 0)
	if topic, payload := boss.topicAndPayload(); topic != "$SYS/broker/version" || payload != "tidegate version 0.0.0" {
		t.Errorf("got %s %q, want the version", topic, payload)
	}
	pub.send(pub.publish(0, 0, "end", "x"))
	if topic, _ := everything.topicAndPayload(); topic != "end" {
		t.Errorf("# got %s, which begins with $", topic)
	}
	w.eventually("a queue bound with # has the messages that were published", func() bool {
		st, err := w.broker.CheckQueue("/", "all", "")
		w.must(err)
		if st.Ready > 2 {
			t.Fatalf("a queue bound with # has %d messages, want the two that were published", st.Ready)
		}
		return st.Ready == 2
	})
}

// topicAndRetained is topicAndPayload for a retained message of any QoS.
func (c *client) topicAndRetained() (topic string, retained bool) {
	c.t.Helper()
	p := c.read()
	if p.kind != 3 {
		c.t.Fatalf("got %v, want a PUBLISH", p)
	}
	return string(p.body[2 : 2+int(p.body[0])<<8+int(p.body[1])]), p.flags&1 != 0
}

// TestSysEndsWithTheTag takes the tag from a user that has subscribed: what the broker tells
// of itself stays away without a word, and the session goes on, over connections too.
func TestSysEndsWithTheTag(t *testing.T) {
	w := newWorld(t, seldom)
	w.monitor("watcher", "monitoring")
	w.monitor("boss", "administrator")
	login := connect{v5: true, id: "c", user: "watcher", password: "pw", props: []byte{0x11, 0, 0, 1, 0}}
	c, _ := w.connect(login)
	c.subscribed(1, "news", 1, 1)
	c.subscribed(2, "$SYS/broker/uptime", 1, 1)
	if p := c.read(); p.kind != 3 {
		t.Fatalf("got %v, want the uptime", p)
	}
	boss, _ := w.connect(connect{clean: true, id: "boss", user: "boss", password: "pw"})
	told := func(id uint16) { // all topics were told once more
		boss.subscribed(id, "$SYS/broker/load/connections/15min", 0, 0)
		boss.topicAndPayload()
	}
	w.monitor("watcher", "management")
	told(1)
	boss.send(boss.publish(0, 0, "news", "1"))
	c.expect("news alone", c.publish(0, 0, "news", "1"))
	c.conn.Close()
	c, connack := w.connect(login)
	if connack.body[0] != 1 || connack.body[1] != 0 {
		t.Fatalf("got %v, want the session", connack)
	}
	told(2)
	boss.send(boss.publish(0, 0, "news", "2"))
	c.expect("news alone on the next connection", c.publish(0, 0, "news", "2"))
	c.subscribed(3, "$SYS/broker/uptime", 1, 0x87)
	w.monitor("watcher", "monitoring")
	told(3)
	if p := c.read(); p.kind != 3 || p.flags != 0 {
		t.Errorf("got %v, want the uptime once the tag is back", p)
	}
}
