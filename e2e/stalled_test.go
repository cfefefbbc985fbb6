package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const (
	stalledMessages = 40_000
	stalledPayload  = 1 << 10
	// stalledRoom is how much more memory the broker may take for two subscribers that
	// read nothing of 40 MB: its buffers for them, and what the collector leaves. KiB.
	stalledRoom = 48 << 10
)

// TestStalledSubscriber publishes to a subscriber that reads, alone and beside two that
// never do: a durable session, and one of QoS 0. The one that reads gets everything, the
// broker's memory stays bounded, and the durable session has everything once it reads.
func TestStalledSubscriber(t *testing.T) {
	needsCrash(t)
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	b := newBroker(t, t.TempDir(), 1)
	b.env = append(b.env, "TIDEGATE_MQTT_WINDOW=1000")
	b.start()
	reader := leanSubscriber(t, b, "reads", "stalled/#")
	reader.flooded(t, b, 0) // fills the buffers that the broker has anyway
	alone := reader.flooded(t, b, stalledMessages)
	before := memory(t, b.PID, "VmHWM")

	stalled := connectRaw5(t, b.MQTT, "stalls", 65_535)
	stalled.subscribe("stalled/#", 1)
	deaf := connectRaw5(t, b.MQTT, "stalls-qos0", 65_535)
	deaf.subscribe("stalled/#", 0)
	beside := reader.flooded(t, b, 2*stalledMessages)
	after := memory(t, b.PID, "VmHWM")
	t.Logf("%d messages of %d bytes took %v alone and %v beside two that stall; peak memory %d MiB and %d MiB",
		stalledMessages, stalledPayload, alone.Round(time.Millisecond), beside.Round(time.Millisecond), before>>10, after>>10)
	if after > before+stalledRoom {
		t.Errorf("the broker took %d MiB and then %d MiB, want at most %d MiB more", before>>10, after>>10, stalledRoom>>10)
	}
	for n := uint64(2 * stalledMessages); n < 3*stalledMessages; {
		p, ok := stalled.read().Content.(*packets.Publish)
		if !ok {
			t.Fatal("the session that stalled got another packet than PUBLISH")
		}
		if got := binary.BigEndian.Uint64(p.Payload); got != n {
			t.Fatalf("the session that stalled got number %d, want %d", got, n)
		}
		stalled.puback(p)
		n++
	}
}

// leanSubscriber subscribes a durable session with QoS 1.
func leanSubscriber(t *testing.T, b *broker, client, filter string) *lean {
	t.Helper()
	c, err := dialLean(b.MQTT, client, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.packet(0x82, []byte{0, 1}, leanString(filter), []byte{1})
	c.out.Flush()
	if kind, body, err := c.next(); err != nil || kind != 0x90 || body[2] != 1 {
		t.Fatalf("subscribe: got %x %x, %v", kind, body, err)
	}
	return c
}

// flooded publishes numbers and takes them all as a subscriber. It returns how long it took.
func (c *lean) flooded(t *testing.T, b *broker, first uint64) time.Duration {
	t.Helper()
	began := time.Now()
	failed := make(chan error, 1)
	go func() { failed <- flood(b.MQTT, first) }()
	c.SetReadDeadline(time.Now().Add(4 * patience))
	for n := first; n < first+stalledMessages; n++ {
		if c.in.Buffered() == 0 {
			c.out.Flush()
		}
		kind, body, err := c.next()
		if err != nil {
			t.Fatalf("the subscriber that reads: %v", err)
		}
		m := parseLean(kind, body)
		if m.seq != n {
			t.Fatalf("the subscriber that reads got number %d, want %d", m.seq, n)
		}
		c.packet(0x40, m.id[:])
	}
	c.out.Flush()
	if err := <-failed; err != nil {
		t.Fatalf("publish: %v", err)
	}
	return time.Since(began)
}

// flood publishes with QoS 1, 500 at a time.
func flood(addr string, first uint64) error {
	c, err := dialLean(addr, fmt.Sprintf("floods-%d", first), false)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(4 * patience))
	topic, padding := leanString("stalled/t"), bytes.Repeat([]byte{'x'}, stalledPayload-8)
	for sent := uint64(0); sent < stalledMessages; {
		for range 500 {
			var number [8]byte
			binary.BigEndian.PutUint64(number[:], first+sent)
			sent++
			id := uint16(1 + sent%60_000)
			c.packet(0x32, topic, binary.BigEndian.AppendUint16(nil, id), number[:], padding)
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		for range 500 {
			if kind, _, err := c.next(); err != nil || kind != 0x40 {
				return fmt.Errorf("got packet %x, %w", kind, err)
			}
		}
	}
	return nil
}
