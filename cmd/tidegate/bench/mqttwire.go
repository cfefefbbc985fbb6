package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The packets of MQTT that a run needs. A packet is type and flags (1 byte),
// remaining length (1 to 4 bytes, 7 bits each), the rest.
const (
	packetConnect    = 0x10
	packetConnack    = 0x20
	packetPublish    = 0x30
	packetPuback     = 0x40
	packetSubscribe  = 0x82
	packetSuback     = 0x90
	packetDisconnect = 0xE0

	flagDup    = 0x08
	packetIDs  = 65_535
	version311 = 4
	version5   = 5
)

// mqttPacket is one packet; its body aliases the read buffer.
type mqttPacket struct {
	head byte // type and flags
	body []byte
}

// kind is the packet's type without its flags.
func (p mqttPacket) kind() byte { return p.head & 0xF0 }

// nextPacket cuts the first packet off buf; size is 0 when it is not complete.
func nextPacket(buf []byte) (p mqttPacket, size int, err error) {
	length, shift := 0, 0
	for i := 1; i < len(buf); i++ {
		length |= int(buf[i]&0x7F) << shift
		if buf[i]&0x80 == 0 {
			if size = i + 1 + length; size > len(buf) {
				return mqttPacket{}, 0, nil
			}
			return mqttPacket{buf[0], buf[i+1 : size]}, size, nil
		}
		if shift += 7; shift > 21 {
			return mqttPacket{}, 0, errors.New("the broker sent a remaining length of more than 4 bytes")
		}
	}
	return mqttPacket{}, 0, nil
}

// appendPacket appends a packet.
func appendPacket(buf []byte, head byte, body []byte) []byte {
	return append(appendLength(append(buf, head), len(body)), body...)
}

// appendLength appends a remaining length or a property length.
func appendLength(buf []byte, n int) []byte {
	for n >= 0x80 {
		buf = append(buf, byte(n)|0x80)
		n >>= 7
	}
	return append(buf, byte(n))
}

// appendString appends a string with its length.
func appendString(buf []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(buf, uint16(len(s))), s...)
}

// mqttConn is a connection while it is set up.
type mqttConn struct {
	net.Conn
	version byte
}

// connectOptions make a CONNECT.
type connectOptions struct {
	clientID       string
	user, password string
	clean          bool // start without a session, and end it with the connection
	receiveMaximum uint16
}

// connect sends CONNECT and returns how many messages the broker lets us leave
// unacknowledged.
func (c mqttConn) connect(o connectOptions) (receiveMaximum int, err error) {
	flags := byte(0xC0) // user name and password
	if o.clean {
		flags |= 0x02
	}
	body := append(appendString(nil, "MQTT"), c.version, flags, 0, 0)
	if c.version == version5 {
		var properties []byte
		if !o.clean {
			properties = append(properties, 0x11, 0, 0, 0x0E, 0x10) // session expiry: an hour
		}
		if o.receiveMaximum > 0 {
			properties = binary.BigEndian.AppendUint16(append(properties, 0x21), o.receiveMaximum)
		}
		body = append(appendLength(body, len(properties)), properties...)
	}
	body = appendString(appendString(appendString(body, o.clientID), o.user), o.password)
	answer, err := c.call(packetConnect, body, packetConnack)
	if err != nil {
		return 0, err
	}
	if len(answer) < 2 || answer[1] != 0 {
		return 0, fmt.Errorf("the broker refused the connection: % x", answer)
	}
	return receiveMaximumOf(answer[2:]), nil
}

// receiveMaximumOf finds the Receive Maximum in the properties of a CONNACK.
func receiveMaximumOf(properties []byte) int {
	if len(properties) < 2 {
		return packetIDs // MQTT 3.1.1, or no properties
	}
	p := properties[1:] // CONNACK properties are shorter than 128 bytes, or we ignore them
	for len(p) > 0 && properties[0] < 0x80 {
		size := 0
		switch p[0] {
		case 0x21: // Receive Maximum
			if len(p) >= 3 {
				return int(binary.BigEndian.Uint16(p[1:]))
			}
			return packetIDs
		case 0x24, 0x25, 0x28, 0x29, 0x2A: // one byte
			size = 2
		case 0x13, 0x22: // two bytes
			size = 3
		case 0x11, 0x27: // four bytes
			size = 5
		case 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F: // a string
			if len(p) >= 3 {
				size = 3 + int(binary.BigEndian.Uint16(p[1:]))
			}
		}
		if size == 0 || size > len(p) {
			break
		}
		p = p[size:]
	}
	return packetIDs
}

// subscribe subscribes to a filter.
func (c mqttConn) subscribe(filter string, qos byte) error {
	body := []byte{0, 1}
	if c.version == version5 {
		body = append(body, 0)
	}
	answer, err := c.call(packetSubscribe, append(appendString(body, filter), qos), packetSuback)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	if len(answer) == 0 || answer[len(answer)-1] > 2 {
		return fmt.Errorf("subscribe to %s: refused with % x", filter, answer)
	}
	return nil
}

// disconnect says goodbye.
func (c mqttConn) disconnect() error {
	_, err := c.Write([]byte{packetDisconnect, 0})
	return errors.Join(err, c.Close())
}

// call sends a packet and waits for the packet that answers it.
func (c mqttConn) call(head byte, body []byte, want byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(drainTime)); err != nil {
		return nil, err
	}
	if _, err := c.Write(appendPacket(nil, head, body)); err != nil {
		return nil, fmt.Errorf("send packet: %w", err)
	}
	for {
		p, err := c.readPacket()
		if err != nil {
			return nil, err
		}
		if p.kind() == want {
			return p.body, c.SetDeadline(time.Time{})
		}
		if p.kind() == packetDisconnect {
			return nil, fmt.Errorf("the broker disconnected: % x", p.body)
		}
	}
}

// readPacket reads one packet and nothing behind it.
func (c mqttConn) readPacket() (mqttPacket, error) {
	head := make([]byte, 1, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return mqttPacket{}, fmt.Errorf("read packet: %w", err)
	}
	length := 0
	for shift := 0; ; shift += 7 {
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return mqttPacket{}, fmt.Errorf("read packet: %w", err)
		}
		length |= int(b[0]&0x7F) << shift
		if b[0]&0x80 == 0 {
			break
		}
		if shift == 21 {
			return mqttPacket{}, errors.New("the broker sent a remaining length of more than 4 bytes")
		}
	}
	if length > readBuffer {
		return mqttPacket{}, fmt.Errorf("the broker sent a packet of %d bytes", length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c, body); err != nil {
		return mqttPacket{}, fmt.Errorf("read packet: %w", err)
	}
	return mqttPacket{head[0], body}, nil
}
