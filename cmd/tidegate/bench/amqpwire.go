package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The frames and methods of AMQP 0-9-1 that a run needs. A frame is type (1
// byte), channel (2), size (4), payload, 0xCE.
const (
	frameMethod = 1
	frameHeader = 2
	frameBody   = 3
	frameEnd    = 0xCE
	frameHead   = 7

	channelMax = 2047 // what RabbitMQ allows, and Tidegate

	basicAck     = 60<<16 | 80
	basicDeliver = 60<<16 | 60
	basicNack    = 60<<16 | 120
)

// amqpFrame is one frame; its payload aliases the read buffer.
type amqpFrame struct {
	kind    byte
	payload []byte
}

// nextFrame cuts the first frame off buf; size is 0 when it is not complete.
func nextFrame(buf []byte) (f amqpFrame, size int, err error) {
	if len(buf) < frameHead {
		return amqpFrame{}, 0, nil
	}
	n := int(binary.BigEndian.Uint32(buf[3:7]))
	if n > readBuffer-frameHead-1 {
		return amqpFrame{}, 0, fmt.Errorf("the broker sent a frame of %d bytes", n)
	}
	if len(buf) < frameHead+n+1 {
		return amqpFrame{}, 0, nil
	}
	if buf[frameHead+n] != frameEnd {
		return amqpFrame{}, 0, errors.New("a frame of the broker does not end where it should")
	}
	return amqpFrame{buf[0], buf[frameHead : frameHead+n]}, frameHead + n + 1, nil
}

// method returns the class and method of a method frame, 0 for others.
func (f amqpFrame) method() uint32 {
	if f.kind != frameMethod || len(f.payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(f.payload)
}

// refused turns a close of the broker into an error.
func (f amqpFrame) refused() error {
	switch f.method() {
	case 10<<16 | 50, 20<<16 | 40: // connection.close, channel.close
	default:
		return nil
	}
	args := f.payload[4:]
	if len(args) < 3 || len(args) < 3+int(args[2]) {
		return errors.New("the broker closed the connection")
	}
	return fmt.Errorf("the broker refused: %s", args[3:3+int(args[2])])
}

// appendFrame appends a frame whose payload write appends.
func appendFrame(buf []byte, kind byte, channel uint16, write func([]byte) []byte) []byte {
	buf = binary.BigEndian.AppendUint16(append(buf, kind), channel)
	at := len(buf)
	buf = write(append(buf, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(buf[at:], uint32(len(buf)-at-4))
	return append(buf, frameEnd)
}

// args builds the arguments of a method.
type args []byte

func method(class, id uint16) args {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, class), id)
}

func (a args) u8(v byte) args         { return append(a, v) }
func (a args) u16(v uint16) args      { return binary.BigEndian.AppendUint16(a, v) }
func (a args) u32(v uint32) args      { return binary.BigEndian.AppendUint32(a, v) }
func (a args) u64(v uint64) args      { return binary.BigEndian.AppendUint64(a, v) }
func (a args) short(s string) args    { return append(append(a, byte(len(s))), s...) }
func (a args) long(s string) args     { return append(a.u32(uint32(len(s))), s...) }
func (a args) table(t ...byte) args   { return append(a.u32(uint32(len(t))), t...) }
func (a args) frame(ch uint16) []byte { return appendFrame(nil, frameMethod, ch, a.payload) }

func (a args) payload(buf []byte) []byte { return append(buf, a...) }

// amqpConn is a connection while it is set up: one call after the other. It
// reads frame by frame so that what follows stays in the socket.
type amqpConn struct{ net.Conn }

// call sends a method and waits for the answer with the given class and
// method.
func (c amqpConn) call(channel uint16, a args, want uint32) error {
	if err := c.SetDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	if _, err := c.Write(a.frame(channel)); err != nil {
		return fmt.Errorf("send method: %w", err)
	}
	return c.await(want)
}

// await reads frames until the wanted method comes.
func (c amqpConn) await(want uint32) error {
	for {
		f, err := c.readFrame()
		if err != nil {
			return err
		}
		if err := f.refused(); err != nil {
			return err
		}
		if f.method() == want {
			return c.SetDeadline(time.Time{})
		}
	}
}

func (c amqpConn) readFrame() (amqpFrame, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return amqpFrame{}, fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(head[3:])
	if n > readBuffer {
		return amqpFrame{}, fmt.Errorf("the broker sent a frame of %d bytes", n)
	}
	payload := make([]byte, n+1)
	if _, err := io.ReadFull(c, payload); err != nil {
		return amqpFrame{}, fmt.Errorf("read frame: %w", err)
	}
	return amqpFrame{head[0], payload[:n]}, nil
}

// login opens the connection and channel 1.
func (c amqpConn) login(user, password string) error {
	if err := c.SetDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "AMQP\x00\x00\x09\x01"); err != nil {
		return fmt.Errorf("send the protocol header: %w", err)
	}
	if err := c.await(10<<16 | 10); err != nil { // connection.start
		return err
	}
	startOK := method(10, 11).table().short("PLAIN").long("\x00" + user + "\x00" + password).short("en_US")
	if err := c.call(0, startOK, 10<<16|30); err != nil { // connection.tune
		return err
	}
	tuneOK := method(10, 31).u16(channelMax).u32(128 << 10).u16(0)
	if _, err := c.Write(tuneOK.frame(0)); err != nil {
		return fmt.Errorf("send tune-ok: %w", err)
	}
	if err := c.call(0, method(10, 40).short("/").short("").u8(0), 10<<16|41); err != nil {
		return err
	}
	return c.call(1, method(20, 10).short(""), 20<<16|11)
}
