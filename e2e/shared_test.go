package e2e

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"
)

// TestSharedClients has clients of all kinds share a filter with one of paho v5: each message
// comes to one of the two.
func TestSharedClients(t *testing.T) {
	b := startBroker(t, 1)
	b.needsMQTT()
	host, port, _ := strings.Cut(b.MQTT, ":")
	program := func(env []string, name string, args ...string) func(*testing.T, string, chan<- string) {
		return func(t *testing.T, filter string, lines chan<- string) {
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "FILTER", filter)
			}
			startMember(t, env, lines, name, args...)
		}
	}
	for _, member := range []struct {
		name  string
		needs func(t *testing.T) []string
		start func(t *testing.T, env []string, filter string, lines chan<- string)
	}{
		{"paho v3", nil, func(t *testing.T, _ []string, filter string, lines chan<- string) {
			c := connect3(t, options3(b.MQTT, "shared-v3", true))
			await3(t, "subscribe", c.Subscribe(filter, 2, func(_ mqtt3.Client, m mqtt3.Message) {
				lines <- "got " + string(m.Payload())
			}))
			lines <- "Subscribed"
		}},
		{"mosquitto_sub 3.1.1", func(t *testing.T) []string {
			needsProgram(t, "mosquitto_sub")
			needsProgram(t, "stdbuf")
			return os.Environ()
		}, func(t *testing.T, env []string, filter string, lines chan<- string) {
			program(env, "stdbuf", "-oL", "mosquitto_sub", "-h", host, "-p", port, "-V", "311", "-q", "1", "-d", "-F", "got %p", "-t", "FILTER")(t, filter, lines)
		}},
		{"mosquitto_sub 5", func(t *testing.T) []string {
			needsProgram(t, "mosquitto_sub")
			needsProgram(t, "stdbuf")
			return os.Environ()
		}, func(t *testing.T, env []string, filter string, lines chan<- string) {
			program(env, "stdbuf", "-oL", "mosquitto_sub", "-h", host, "-p", port, "-V", "5", "-q", "2", "-d", "-F", "got %p", "-t", "FILTER")(t, filter, lines)
		}},
		{"paho for Python", func(t *testing.T) []string {
			needsPython(t, "paho.mqtt.client")
			return os.Environ()
		}, func(t *testing.T, env []string, filter string, lines chan<- string) {
			program(env, python, "clients/paho_shared.py", b.MQTT, "FILTER")(t, filter, lines)
		}},
		{
			"MQTT.js 3.1.1", func(t *testing.T) []string { return needsNode(t, "mqtt") },
			func(t *testing.T, env []string, filter string, lines chan<- string) {
				program(env, "node", "clients/mqttjs_shared.js", "mqtt://"+b.MQTT, "FILTER", "4")(t, filter, lines)
			},
		},
		{
			"MQTT.js 5", func(t *testing.T) []string { return needsNode(t, "mqtt") },
			func(t *testing.T, env []string, filter string, lines chan<- string) {
				program(env, "node", "clients/mqttjs_shared.js", "mqtt://"+b.MQTT, "FILTER", "5")(t, filter, lines)
			},
		},
	} {
		t.Run(member.name, func(t *testing.T) {
			var env []string
			if member.needs != nil {
				env = member.needs(t)
			}
			topic := "shared/" + strings.ReplaceAll(member.name, " ", "-")
			filter, lines := "$share/group/"+topic+"/#", make(chan string, inbox)
			member.start(t, env, filter, lines)
			awaitLine(t, lines, "Subscribed")
			other := connect5(t, b.MQTT, "shared-v5", mqtt5Options{})
			other.subscribe(t, filter, 2)
			publisher := connect5(t, b.MQTT, "shared-publisher", mqtt5Options{})
			for n := range roundTrip {
				publisher.publish(t, topic+"/"+strconv.Itoa(n%3), byte(1+n%2), strconv.Itoa(n))
			}
			sharedOnce(t, lines, other)
		})
	}
}

// sharedOnce looks that each message came to one of two members, and some to each.
func sharedOnce(t *testing.T, lines <-chan string, other *mqtt5) {
	t.Helper()
	came, theirs, ours := map[string]int{}, 0, 0
	late := time.After(patience)
	for theirs+ours < roundTrip {
		select {
		case line := <-lines:
			if n, ok := strings.CutPrefix(line, "got "); ok {
				came[n]++
				theirs++
			}
		case p := <-other.got:
			came[string(p.Payload)]++
			ours++
		case <-late:
			t.Fatalf("%d and %d messages came, want %d together", theirs, ours, roundTrip)
		}
	}
	for n := range roundTrip {
		if came[strconv.Itoa(n)] != 1 {
			t.Errorf("message %d came %d times", n, came[strconv.Itoa(n)])
		}
	}
	if theirs == 0 || ours == 0 {
		t.Errorf("%d and %d messages came, want some to each", theirs, ours)
	}
}

// startMember runs a program until the test ends, and sends the lines that it prints.
func startMember(t *testing.T, env []string, lines chan<- string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	complaints := newTailBuffer(16 << 10)
	cmd.Stderr = complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for out := bufio.NewScanner(stdout); out.Scan(); {
			lines <- out.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", name, complaints)
		}
	})
}

func awaitLine(t *testing.T, lines <-chan string, prefix string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-lines:
			if strings.HasPrefix(line, prefix) {
				return
			}
		case <-late:
			t.Fatalf("no line %q within %v", prefix, patience)
		}
	}
}

// TestSharedDeadLetters has a member of a group reject messages by reason 0x99: they come to
// the queue of the group's dead letters, for clients of both protocols, also after a kill.
func TestSharedDeadLetters(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", b.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		exchange := func(send string, answer byte) []byte {
			if _, err := conn.Write([]byte(send)); err != nil {
				t.Fatal(err)
			}
			return readPacket(t, conn, answer)
		}
		exchange("\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01r", 0x20)
		exchange("\x82\x18\x00\x01\x00\x00\x12$share/shop/orders\x01", 0x90)
		publisher := connect5(t, b.MQTT, "p", mqtt5Options{})
		for _, body := range []string{"first", "second"} {
			publisher.publish(t, "orders", 1, body)
			p := readPacket(t, conn, 0x32)
			at := 2 + len("orders") // of the packet identifier
			if _, err := conn.Write([]byte{0x40, 3, p[at], p[at+1], 0x99}); err != nil {
				t.Fatal(err)
			}
		}
		awaitReady(t, b, "dlq.shop", 2)
		b.restart()
		ch := openChannel(t, b.AMQP)
		d, ok, err := ch.Get("dlq.shop", true)
		if err != nil || !ok || string(d.Body) != "first" {
			t.Fatalf("get from the dead letters: %q %v %v, want the first", d.Body, ok, err)
		}
		if deaths, _ := d.Headers["x-first-death-reason"].(string); deaths != "rejected" {
			t.Errorf("headers %v do not tell of the rejection", d.Headers)
		}
		reader := connect5(t, b.MQTT, "reader", mqtt5Options{})
		reader.subscribe(t, "$queue/dlq.shop", 1)
		if p := reader.next(t); string(p.Payload) != "second" || p.QoS != 1 {
			t.Errorf("got %q with QoS %d, want the second with 1", p.Payload, p.QoS)
		}
	})
}

// readPacket reads a short packet, whose first byte must be the given one, and returns what
// follows its length.
func readPacket(t *testing.T, r io.Reader, first byte) []byte {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(r, body); err != nil || head[1] >= 0x80 {
		t.Fatalf("read a packet of length %d: %v", head[1], err)
	}
	if head[0] != first {
		t.Fatalf("packet %#x % x, want %#x", head[0], body, first)
	}
	return body
}
