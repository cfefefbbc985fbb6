package mqtt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// client speaks raw bytes, so that tests can say what no library would.
type client struct {
	t    testing.TB
	conn net.Conn
	v5   bool
}

func (w *world) dial() *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	return &client{t: w.t, conn: conn}
}

// connect dials and expects an accepted connection.
func (w *world) connect(p connect) (*client, packet) {
	w.t.Helper()
	c := w.dial()
	c.v5 = p.v5
	c.send(p.bytes())
	ack := c.read()
	if ack.kind != 2 || ack.body[1] != 0 {
		w.t.Fatalf("CONNACK: got %v, want accepted", ack)
	}
	return c, ack
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// packet is a received packet.
type packet struct {
	kind, flags byte
	body        []byte
}

func (p packet) String() string {
	return hex.EncodeToString([]byte{p.kind<<4 | p.flags}) + " " + hex.EncodeToString(p.body)
}

// read returns the next packet, or the zero packet when the server closed.
func (c *client) read() packet {
	c.t.Helper()
	p, err := c.tryRead(time.Minute)
	if err != nil && !errors.Is(err, io.EOF) {
		c.t.Fatalf("read: %v", err)
	}
	return p
}

func (c *client) tryRead(timeout time.Duration) (packet, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return packet{}, err
	}
	var head [1]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return packet{}, err
	}
	length, shift := 0, 0
	for {
		var b [1]byte
		if _, err := io.ReadFull(c.conn, b[:]); err != nil {
			return packet{}, err
		}
		length |= int(b[0]&0x7f) << shift
		shift += 7
		if b[0]&0x80 == 0 {
			break
		}
	}
	p := packet{kind: head[0] >> 4, flags: head[0] & 15, body: make([]byte, length)}
	_, err := io.ReadFull(c.conn, p.body)
	return p, err
}

// expect compares the next packet with its bytes.
func (c *client) expect(what string, want []byte) {
	c.t.Helper()
	p := c.read()
	var got []byte
	if p.kind != 0 {
		got = raw(p.kind<<4|p.flags, p.body)
	}
	if !bytes.Equal(got, want) {
		c.t.Fatalf("%s: got %x, want %x", what, got, want)
	}
}

// closed expects that the server closes without another packet.
func (c *client) closed(what string) {
	c.t.Helper()
	if p := c.read(); p.kind != 0 {
		c.t.Fatalf("%s: got %v, want the connection closed", what, p)
	}
}

// silent expects nothing for a moment.
func (c *client) silent(what string) {
	c.t.Helper()
	p, err := c.tryRead(50 * time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("%s: got %v, %v, want nothing", what, p, err)
	}
}

// The packets of a client.

func raw(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := []byte{first}
	n := len(body)
	for n >= 0x80 {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(append(out, byte(n)), body...)
}

func str(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

func u16(v uint16) []byte { return []byte{byte(v >> 8), byte(v)} }

func block(props ...[]byte) []byte { return raw(0, props...)[1:] }

func user(k, v string) []byte { return bytes.Join([][]byte{{0x26}, str(k), str(v)}, nil) }

type connect struct {
	v5, clean    bool
	id           string
	keepAlive    uint16
	props        []byte // v5, without length
	user         string
	password     string
	willTopic    string
	willPayload  string
	willQoS      byte
	willRetain   bool
	willProps    []byte
	protocol     string // instead of MQTT
	version      byte   // instead of 4 or 5
	flags        byte   // added
	trailingByte bool
}

func (p connect) bytes() []byte {
	name, version, flags := "MQTT", byte(4), p.flags
	if p.v5 {
		version = 5
	}
	if p.protocol != "" {
		name = p.protocol
	}
	if p.version != 0 {
		version = p.version
	}
	if p.clean {
		flags |= 2
	}
	if p.willTopic != "" {
		flags |= 4 | p.willQoS<<3
		if p.willRetain {
			flags |= 0x20
		}
	}
	if p.user != "" {
		flags |= 0x80
	}
	if p.password != "" {
		flags |= 0x40
	}
	parts := [][]byte{str(name), {version, flags}, u16(p.keepAlive)}
	if p.v5 {
		parts = append(parts, block(p.props))
	}
	parts = append(parts, str(p.id))
	if p.willTopic != "" {
		if p.v5 {
			parts = append(parts, block(p.willProps))
		}
		parts = append(parts, str(p.willTopic), str(p.willPayload))
	}
	if p.user != "" {
		parts = append(parts, str(p.user))
	}
	if p.password != "" {
		parts = append(parts, str(p.password))
	}
	if p.trailingByte {
		parts = append(parts, []byte{0})
	}
	return raw(0x10, parts...)
}

// publish is a PUBLISH; flags are those of the fixed header.
func (c *client) publish(flags byte, id uint16, topic, payload string, props ...[]byte) []byte {
	parts := [][]byte{str(topic)}
	if flags&6 != 0 {
		parts = append(parts, u16(id))
	}
	if c.v5 {
		parts = append(parts, block(props...))
	}
	return raw(0x30|flags, append(parts, []byte(payload))...)
}

func (c *client) subscribe(id uint16, filter string, options byte, props ...[]byte) []byte {
	parts := [][]byte{u16(id)}
	if c.v5 {
		parts = append(parts, block(props...))
	}
	return raw(0x82, append(parts, str(filter), []byte{options})...)
}

func (c *client) unsubscribe(id uint16, filter string) []byte {
	parts := [][]byte{u16(id)}
	if c.v5 {
		parts = append(parts, block())
	}
	return raw(0xa2, append(parts, str(filter))...)
}

// subscribed subscribes and expects the code.
func (c *client) subscribed(id uint16, filter string, options, code byte, props ...[]byte) {
	c.t.Helper()
	c.send(c.subscribe(id, filter, options, props...))
	want := raw(0x90, u16(id), []byte{code})
	if c.v5 {
		want = raw(0x90, u16(id), []byte{0, code})
	}
	c.expect("SUBACK "+filter, want)
}

func ack(first byte, id uint16, reason ...byte) []byte { return raw(first, u16(id), reason) }

var (
	ping       = []byte{0xc0, 0}
	pong       = []byte{0xd0, 0}
	disconnect = []byte{0xe0, 0}
)
