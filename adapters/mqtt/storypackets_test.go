package mqtt_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The words of stories for packet types and properties.
var packetNames = [...]string{
	"reserved", "connect", "connack", "publish", "puback", "pubrec", "pubrel", "pubcomp",
	"subscribe", "suback", "unsubscribe", "unsuback", "pingreq", "pingresp", "disconnect", "auth",
}

// property tells how a property is written: its kind is the number of its bytes,
// or "varint", "text" or "pair".
type property struct {
	id   byte
	name string
	kind string
}

var properties = []property{
	{0x01, "payload-format", "1"},
	{0x02, "message-expiry", "4"},
	{0x03, "content-type", "text"},
	{0x08, "response-topic", "text"},
	{0x09, "correlation-data", "text"},
	{0x0b, "subscription-identifier", "varint"},
	{0x11, "session-expiry", "4"},
	{0x12, "assigned-client-id", "text"},
	{0x13, "server-keep-alive", "2"},
	{0x15, "auth-method", "text"},
	{0x16, "auth-data", "text"},
	{0x17, "problem-information", "1"},
	{0x18, "will-delay", "4"},
	{0x19, "response-information", "1"},
	{0x1f, "reason", "text"},
	{0x21, "receive-maximum", "2"},
	{0x22, "alias-maximum", "2"},
	{0x23, "alias", "2"},
	{0x24, "maximum-qos", "1"},
	{0x25, "retain-available", "1"},
	{0x26, "user", "pair"},
	{0x27, "maximum-packet-size", "4"},
	{0x28, "wildcards", "1"},
	{0x29, "identifiers", "1"},
	{0x2a, "shared", "1"},
}

func (c *client) property(name, value string) (b []byte, ok bool) {
	c.t.Helper()
	i := slices.IndexFunc(properties, func(p property) bool { return p.name == name })
	if i < 0 {
		return nil, false
	}
	b = []byte{properties[i].id}
	switch properties[i].kind {
	case "1":
		return append(b, byte(num(c.t, value, 8))), true
	case "2":
		return append(b, u16(uint16(num(c.t, value, 16)))...), true
	case "4":
		return binary.BigEndian.AppendUint32(b, uint32(num(c.t, value, 32))), true
	case "varint":
		return append(b, varint(int(num(c.t, value, 28)))...), true
	case "pair":
		k, v, _ := strings.Cut(value, ":")
		return user(k, v), true
	default:
		return append(b, str(value)...), true
	}
}

func varint(n int) (b []byte) {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// said is what the words of a line say.
type said struct {
	flags map[string]bool
	value map[string]string
	other []string // words without a value that are no flags
	codes []byte
	props []byte
	will  []byte // properties of the will
}

// parse sorts the words after the packet type; flags are words that stand alone.
func (c *client) parse(words []string, flags ...string) said {
	c.t.Helper()
	s := said{flags: map[string]bool{}, value: map[string]string{}}
	for _, word := range words {
		name, value, assigned := strings.Cut(word, "=")
		prop, isProperty := []byte(nil), false
		willProperty, ofWill := strings.CutPrefix(name, "will.")
		if assigned {
			prop, isProperty = c.property(willProperty, value)
		}
		switch {
		case isProperty && ofWill:
			s.will = append(s.will, prop...)
		case isProperty:
			s.props = append(s.props, prop...)
		case assigned:
			s.value[name] = value
		case slices.Contains(flags, word):
			s.flags[word] = true
		case strings.HasPrefix(word, "0x"):
			s.codes = append(s.codes, byte(num(c.t, word, 8)))
		default:
			s.other = append(s.other, word)
		}
	}
	return s
}

func (c *client) number(s said, name string) uint16 {
	c.t.Helper()
	if s.value[name] == "" {
		return 0
	}
	return uint16(num(c.t, s.value[name], 16))
}

// encode makes the packet of a line.
func (c *client) encode(words []string) []byte {
	c.t.Helper()
	kind := slices.Index(packetNames[:], words[0])
	switch words[0] {
	case "connect":
		return c.encodeConnect(words[1:])
	case "publish":
		return c.encodePublish(words[1:])
	case "puback", "pubrec", "pubrel", "pubcomp":
		s := c.parse(words[1:])
		first := byte(kind) << 4
		if words[0] == "pubrel" {
			first |= 2
		}
		parts := [][]byte{u16(c.number(s, "id")), s.codes}
		if len(s.props) > 0 {
			parts = append(parts, block(s.props))
		}
		return raw(first, parts...)
	case "subscribe", "unsubscribe":
		return c.encodeFilters(kind, words[1:])
	case "pingreq":
		return ping
	case "disconnect", "auth":
		s := c.parse(words[1:])
		parts := [][]byte{s.codes}
		if len(s.props) > 0 {
			parts = append(parts, block(s.props))
		}
		return raw(byte(kind)<<4, parts...)
	default:
		c.t.Fatalf("unknown packet %q", words[0])
		return nil
	}
}

func (c *client) encodeConnect(words []string) []byte {
	c.t.Helper()
	s := c.parse(words, "v5", "3.1", "clean", "will-retain")
	p := connect{
		v5: s.flags["v5"], clean: s.flags["clean"], id: s.value["id"], keepAlive: c.number(s, "keep-alive"),
		props: s.props, user: s.value["user-name"], password: s.value["password"],
		willTopic: s.value["will"], willPayload: s.value["will-payload"], willQoS: byte(c.number(s, "will-qos")),
		willRetain: s.flags["will-retain"], willProps: s.will,
	}
	if s.flags["3.1"] {
		p.protocol, p.version = "MQIsdp", 3
	}
	c.v5 = p.v5
	return p.bytes()
}

func (c *client) encodePublish(words []string) []byte {
	c.t.Helper()
	s := c.parse(words, "dup", "retain")
	flags := byte(c.number(s, "qos")) << 1
	if s.flags["dup"] {
		flags |= 8
	}
	if s.flags["retain"] {
		flags |= 1
	}
	topic := ""
	if len(s.other) > 0 {
		topic = s.other[0]
	}
	return c.publish(flags, c.number(s, "id"), topic, s.value["payload"], s.props)
}

// encodeFilters makes a SUBSCRIBE, with filters of the form filter:qos,nl,rap,rh1,
// or an UNSUBSCRIBE.
func (c *client) encodeFilters(kind int, words []string) []byte {
	c.t.Helper()
	s := c.parse(words)
	parts := [][]byte{u16(c.number(s, "id"))}
	if c.v5 {
		parts = append(parts, block(s.props))
	}
	for _, filter := range s.other {
		if packetNames[kind] == "unsubscribe" {
			parts = append(parts, str(filter))
			continue
		}
		at := strings.LastIndexByte(filter, ':')
		options := byte(0)
		for option := range strings.SplitSeq(filter[at+1:], ",") {
			switch option {
			case "nl":
				options |= 4
			case "rap":
				options |= 8
			case "rh1":
				options |= 0x10
			case "rh2":
				options |= 0x20
			default:
				options |= byte(num(c.t, option, 8))
			}
		}
		parts = append(parts, str(filter[:at]), []byte{options})
	}
	return raw(byte(kind)<<4|2, parts...)
}

// describe returns the words of a packet from the server, "eof" for its end.
func (c *client) describe(p packet) []string {
	c.t.Helper()
	words := []string{packetNames[p.kind]}
	b := p.body
	reserved := byte(0)
	code := func() {
		words = append(words, fmt.Sprintf("0x%02x", b[0]))
		b = b[1:]
	}
	id := func() {
		words = append(words, fmt.Sprint("id=", binary.BigEndian.Uint16(b)))
		b = b[2:]
	}
	switch packetNames[p.kind] {
	case "reserved":
		return []string{"eof"}
	case "connack":
		if b[0] != 0 {
			words = append(words, fmt.Sprint("session=", b[0]))
		}
		b = b[1:]
		code()
	case "publish":
		return append(words, c.describePublish(p)...)
	case "puback", "pubrec", "pubrel", "pubcomp":
		if packetNames[p.kind] == "pubrel" {
			reserved = 2
		}
		id()
		if len(b) > 0 {
			code()
		}
	case "suback", "unsuback":
		id()
		if c.v5 {
			words = append(words, c.cutProperties(&b)...)
		}
		for len(b) > 0 {
			code()
		}
	case "disconnect":
		code()
	}
	if p.flags != reserved {
		words = append(words, fmt.Sprintf("flags=%x", p.flags))
	}
	if c.v5 && len(b) > 0 {
		words = append(words, c.cutProperties(&b)...)
	}
	if len(b) > 0 {
		words = append(words, "rest="+hex.EncodeToString(b))
	}
	return words
}

func (c *client) describePublish(p packet) []string {
	c.t.Helper()
	b := p.body
	n := int(binary.BigEndian.Uint16(b))
	words := []string{string(b[2 : 2+n])}
	if n == 0 {
		words = nil
	}
	b = b[2+n:]
	if p.flags&8 != 0 {
		words = append(words, "dup")
	}
	if p.flags&1 != 0 {
		words = append(words, "retain")
	}
	if qos := p.flags >> 1 & 3; qos > 0 {
		words = append(words, fmt.Sprint("qos=", qos), fmt.Sprint("id=", binary.BigEndian.Uint16(b)))
		b = b[2:]
	}
	if c.v5 {
		words = append(words, c.cutProperties(&b)...)
	}
	if len(b) > 0 {
		words = append(words, "payload="+string(b))
	}
	return words
}

// cutProperties returns the words of a property block and takes it off b.
func (c *client) cutProperties(b *[]byte) (words []string) {
	c.t.Helper()
	n, size := uvarint(*b)
	block := (*b)[size : size+n]
	*b = (*b)[size+n:]
	field := func() string {
		n := int(binary.BigEndian.Uint16(block))
		text := string(block[2 : 2+n])
		block = block[2+n:]
		return strings.ReplaceAll(text, " ", "_")
	}
	for len(block) > 0 {
		i := slices.IndexFunc(properties, func(p property) bool { return p.id == block[0] })
		if i < 0 {
			c.t.Fatalf("property %#x", block[0])
		}
		block = block[1:]
		var value string
		switch properties[i].kind {
		case "1":
			value, block = strconv.Itoa(int(block[0])), block[1:]
		case "2":
			value, block = strconv.Itoa(int(binary.BigEndian.Uint16(block))), block[2:]
		case "4":
			value, block = strconv.Itoa(int(binary.BigEndian.Uint32(block))), block[4:]
		case "varint":
			n, size := uvarint(block)
			value, block = strconv.Itoa(n), block[size:]
		case "pair":
			value = field()
			value += ":" + field()
		default:
			value = field()
		}
		words = append(words, properties[i].name+"="+value)
	}
	return words
}

func uvarint(b []byte) (v, n int) {
	u, n := binary.Uvarint(b)
	return int(u), n
}
