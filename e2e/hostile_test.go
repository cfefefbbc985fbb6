package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpHeader opens every AMQP 0-9-1 conversation.
const amqpHeader = "AMQP\x00\x00\x09\x01"

// dialRaw opens a TCP connection that is closed when the test ends.
func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// memory reads a line of /proc/<pid>/status in KiB.
func memory(t *testing.T, pid int, field string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return kib
		}
	}
	t.Fatalf("no %s in the status of process %d", field, pid)
	return 0
}

func TestHostileLengthsBeforeLoginCostLittle(t *testing.T) {
	needsCrash(t)
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	b := startBroker(t, 1)
	const each = 100
	filler := bytes.Repeat([]byte{'x'}, 32<<10)
	before := memory(t, b.PID, "VmRSS")
	for range each {
		m := dialRaw(t, b.MQTT)
		// CONNECT that claims 256 MiB, and the honest beginning of one.
		write(m, []byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60}, filler)

		a := dialRaw(t, b.AMQP)
		write(a, []byte(amqpHeader))
		readFrame(t, a) // connection.start
		// A frame that claims 4 GiB, and the beginning of a start-ok.
		write(a, []byte{1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 10, 0, 11}, filler)
	}
	checkServes(t, b)
	perConn := (memory(t, b.PID, "VmHWM") - before) / (2 * each)
	t.Logf("peak memory per hostile connection: %d KiB over %d KiB at rest", perConn, before)
	if perConn >= 1024 {
		t.Errorf("a connection before login costs %d KiB, want less than 1024", perConn)
	}
}

func TestHostileSlowLoginsEnd(t *testing.T) {
	b := startBroker(t, 1)
	for _, c := range []struct {
		name, addr string
		bytes      string
	}{
		{"MQTT says nothing", b.MQTT, ""},
		{"MQTT drips", b.MQTT, "\x10\x7f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\x40" + strings.Repeat("x", 64)},
		{"AMQP says nothing", b.AMQP, ""},
		{"AMQP drips", b.AMQP, amqpHeader + "\x01\x00\x00\x00\x00\x01\x00\x00\x0a\x00\x0b\x00\x00\x00\xf0" + strings.Repeat("x", 64)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.addr == "" {
				t.Skip("the broker under test does not serve this protocol")
			}
			conn := dialRaw(t, c.addr)
			start := time.Now()
			left := drip(t, conn, c.bytes)
			t.Logf("closed after %v", time.Since(start).Round(10*time.Millisecond))
			if c.bytes != "" && left == "" {
				t.Error("the broker waited for the last byte")
			}
		})
	}
}

// drip sends a byte every 250 ms until the broker has closed the connection. It
// returns what is left.
func drip(t *testing.T, conn net.Conn, s string) (left string) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { // ends with the connection
		_, err := io.Copy(io.Discard, conn)
		closed <- err
	}()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-closed:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the broker never closed the connection: %v", err)
			}
			return s
		case <-tick.C:
			if s != "" {
				write(conn, []byte(s[:1]))
				s = s[1:]
			}
		}
	}
}

func TestHostileBytesLeaveTheBrokerServing(t *testing.T) {
	b := startBroker(t, 1)
	t.Run("each", func(t *testing.T) { // returns when the parallel cases have ended
		b.provokeAll(t)
	})
	b.provokeRandomly(t)
}

// provokeAll runs every case beside the others.
func (b *broker) provokeAll(t *testing.T) {
	t.Helper()
	for name, s := range mqttCases {
		b.provoke(t, "MQTT "+name, b.MQTT, func(conn net.Conn) { write(conn, []byte(s)) })
	}
	for name, s := range mqttLoggedIn {
		b.provoke(t, "MQTT logged in "+name, b.MQTT, func(conn net.Conn) { write(conn, mqttConnect(), []byte(s)) })
	}
	for name, s := range amqpCases {
		b.provoke(t, "AMQP "+name, b.AMQP, func(conn net.Conn) { write(conn, []byte(s)) })
	}
	for name, frames := range amqpLoggedIn() {
		b.provoke(t, "AMQP logged in "+name, b.AMQP, func(conn net.Conn) {
			loginAMQP(t, conn)
			write(conn, frames)
		})
	}
}

// provoke does something hostile on a connection and checks that the broker
// still serves others.
func (b *broker) provoke(t *testing.T, name, addr string, do func(conn net.Conn)) {
	t.Helper()
	if addr == "" {
		return
	}
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		conn := dialRaw(t, addr)
		do(conn)
		if c, ok := conn.(*net.TCPConn); ok {
			c.CloseWrite()
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection stayed open after the provocation: %v", err)
		}
		checkServes(t, b)
	})
}

// provokeRandomly sends noise behind valid beginnings.
func (b *broker) provokeRandomly(t *testing.T) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the noise: %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		noise := make([]byte, 1+rnd.IntN(300))
		for i := range noise {
			noise[i] = byte(rnd.Uint32())
		}
		if b.MQTT != "" {
			m := dialRaw(t, b.MQTT)
			write(m, mqttConnect(), noise)
			m.Close()
		}
		if b.AMQP != "" {
			a := dialRaw(t, b.AMQP)
			write(a, []byte(amqpHeader), noise)
			a.Close()
		}
	}
	checkServes(t, b)
}

// checkServes passes one message through each protocol.
func checkServes(t *testing.T, b *broker) {
	t.Helper()
	if b.MQTT != "" {
		name := fmt.Sprintf("alive/%d", rand.Uint64())
		c := connect5(t, b.MQTT, name, mqtt5Options{})
		c.subscribe(t, name, 1)
		c.publish(t, name, 1, "yes")
		if got := c.next(t); string(got.Payload) != "yes" {
			t.Errorf("got %q through MQTT, want \"yes\"", got.Payload)
		}
		c.close()
	}
	if b.AMQP != "" {
		conn := dialAMQP(t, b.AMQP)
		ch := channelOn(t, conn)
		q, err := ch.QueueDeclare("", false, false, true, false, nil)
		if err != nil {
			t.Fatalf("declare: %v", err)
		}
		deliveries := consumeQueue(t, ch, q.Name, 1)
		if err := ch.PublishWithContext(t.Context(), "", q.Name, true, false, amqp.Publishing{Body: []byte("yes")}); err != nil {
			t.Fatalf("publish: %v", err)
		}
		if got := receive(t, deliveries); string(got.Body) != "yes" {
			t.Errorf("got %q through AMQP, want \"yes\"", got.Body)
		}
		conn.Close()
	}
}

// write sends bytes; the broker may have closed the connection already.
func write(conn net.Conn, parts ...[]byte) {
	for _, p := range parts {
		if _, err := conn.Write(p); err != nil {
			return
		}
	}
}
