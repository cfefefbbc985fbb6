package bench

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAMQPPublishFrames(t *testing.T) {
	t.Parallel()
	p := newAMQPPublisher("ex", "key", 5, 10)
	buf := p.appendMessage(nil, 1, []byte("hello"))
	var kinds []byte
	for len(buf) > 0 {
		f, size, err := nextFrame(buf)
		if err != nil || size == 0 {
			t.Fatalf("frame %d: size %d, %v", len(kinds)+1, size, err)
		}
		if f.kind == frameBody && string(f.payload) != "hello" {
			t.Errorf("body: got %q", f.payload)
		}
		if f.kind == frameHeader && binary.BigEndian.Uint64(f.payload[4:]) != 5 {
			t.Errorf("body size in the header: % x", f.payload)
		}
		kinds = append(kinds, f.kind)
		buf = buf[size:]
	}
	if diff := cmp.Diff([]byte{frameMethod, frameHeader, frameBody}, kinds); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

func TestAMQPConfirmsInPieces(t *testing.T) {
	t.Parallel()
	p := newAMQPPublisher("", "q", 5, 10)
	w := newWindow(10)
	w.send(7, 1)
	stream := bytes.Join([][]byte{
		method(60, 80).u64(2).u8(0).frame(1),
		{8, 0, 0, 0, 0, 0, 0, frameEnd}, // heartbeat
		method(60, 80).u64(6).u8(1).frame(1),
	}, nil)
	have := []byte{}
	for _, b := range stream { // byte by byte
		have = append(have, b)
		used, err := p.confirms(have, w)
		if err != nil {
			t.Fatal(err)
		}
		have = have[used:]
	}
	if got := w.confirmed.Load(); got != 6 || len(have) != 0 {
		t.Errorf("confirmed %d with %d bytes left, want 6 and none", got, len(have))
	}
	for name, bad := range map[string][]byte{
		"nack":            method(60, 120).u64(7).u8(0).frame(1),
		"unknown tag":     method(60, 80).u64(9).u8(0).frame(1),
		"channel closed":  method(20, 40).u16(404).short("NOT_FOUND").u32(0).frame(1),
		"no frame end":    {1, 0, 1, 0, 0, 0, 1, 0, 0},
		"giant frame":     {1, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF},
		"short basic.ack": method(60, 80).u8(1).frame(1),
	} {
		if _, err := p.confirms(bad, w); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAMQPDeliveries(t *testing.T) {
	t.Parallel()
	deliver := func(tag uint64, redelivered byte, body string) []byte {
		buf := method(60, 60).short("ctag").u64(tag).u8(redelivered).short("").short("q").frame(1)
		buf = appendFrame(buf, frameHeader, 1, args{}.u16(60).u16(0).u64(uint64(len(body))).u16(0).payload)
		return appendFrame(buf, frameBody, 1, args(body).payload)
	}
	c := &amqpConsumer{}
	var got []string
	used, err := c.deliveries(append(deliver(1, 0, "one"), deliver(2, 1, "two")...), func(payload []byte, flagged bool) {
		mark := ""
		if flagged {
			mark = " again"
		}
		got = append(got, string(payload)+mark)
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two again"}, got); diff != "" {
		t.Errorf("after %d bytes (-want +got):\n%s", used, diff)
	}
	want := method(60, 80).u64(2).u8(1).frame(1)
	if ack := c.appendAcks(nil); !bytes.Equal(ack, want) {
		t.Errorf("acks: got % x, want % x", ack, want)
	}
	if ack := c.appendAcks(nil); len(ack) > 0 {
		t.Errorf("acks without deliveries: got % x", ack)
	}
}

func TestMQTTNumbersAndPacketIDs(t *testing.T) {
	t.Parallel()
	for _, n := range []uint64{1, 2, 65_535, 65_536, 131_070, 1_000_000} {
		for _, behind := range []uint64{0, 1, 999, 60_000} {
			if behind >= n {
				continue
			}
			if got := numberOf(packetID(n), n-behind); got != n {
				t.Errorf("message %d, %d behind: got %d", n, behind, got)
			}
		}
	}
}

func TestMQTTPublishMeetsItsOwnReader(t *testing.T) {
	t.Parallel()
	for _, version := range []byte{version311, version5} {
		for _, qos := range []byte{0, 1} {
			p := &mqttPublisher{qos: qos, size: 10}
			p.encode("a/b", 200, version)
			payload := bytes.Repeat([]byte{'x'}, 200)
			c := &mqttConsumer{version: version}
			n := 0
			stream := p.appendMessage(p.appendMessage(nil, 1, payload), 2, payload)
			used, err := c.deliveries(stream, func(got []byte, flagged bool) {
				n++
				if !bytes.Equal(got, payload) || flagged {
					t.Errorf("version %d, QoS %d: got %q, flagged %t", version, qos, got, flagged)
				}
			})
			if err != nil || n != 2 || used != len(stream) {
				t.Fatalf("version %d, QoS %d: %d messages, %d of %d bytes, %v", version, qos, n, used, len(stream), err)
			}
			w := newWindow(10)
			w.send(2, 1)
			if _, err := p.confirms(c.appendAcks(nil), w); err != nil || w.confirmed.Load() != 2*uint64(qos) {
				t.Errorf("version %d, QoS %d: confirmed %d, %v", version, qos, w.confirmed.Load(), err)
			}
		}
	}
}

func TestMQTTReaderRefusesNonsense(t *testing.T) {
	t.Parallel()
	c := &mqttConsumer{version: version5}
	for name, s := range map[string]string{
		"length of five bytes":      "\x30\xff\xff\xff\xff\x01",
		"empty publish":             "\x30\x00",
		"topic longer than packet":  "\x30\x04\x00\x09a\x00",
		"no packet id":              "\x32\x03\x00\x01a",
		"no properties":             "\x30\x03\x00\x01a",
		"properties beyond the end": "\x30\x04\x00\x01a\x09",
		"disconnect":                "\xe0\x01\x8e",
		"connack":                   "\x20\x03\x00\x00\x00",
	} {
		if _, err := c.deliveries([]byte(s), func([]byte, bool) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReceiveMaximum(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		properties string
		want       int
	}{
		"3.1.1":            {"", packetIDs},
		"no properties":    {"\x00", packetIDs},
		"alone":            {"\x03\x21\x04\x00", 1024},
		"behind others":    {"\x0d\x11\x00\x00\x00\x01\x12\x00\x02id\x21\x00\x14", 20},
		"cut":              {"\x02\x21\x04", packetIDs},
		"unknown property": {"\x04\x7f\x21\x00\x14", packetIDs},
	} {
		if got := receiveMaximumOf([]byte(c.properties)); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}
