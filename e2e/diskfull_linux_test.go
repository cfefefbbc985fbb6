package e2e_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// The disk of the log in this test, and what another program takes of it at first.
const (
	smallDisk = 96 << 20
	ballast   = 56 << 20
)

// broker is the real binary.
type broker struct {
	MQTT string `json:"mqtt"`
	AMQP string `json:"amqp"`
	HTTP string `json:"http"`

	t      *testing.T
	cmd    *exec.Cmd
	output bytes.Buffer // of the process; to be read after stop
	done   chan struct{}
	err    error
}

// buildBroker compiles the binary.
func buildBroker(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tidegate")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/tidegate/tidegate/cmd/tidegate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// startBroker runs the binary on free ports until the test ends.
func startBroker(t *testing.T, binary, data string) *broker {
	t.Helper()
	b := &broker{t: t, done: make(chan struct{})}
	ready := filepath.Join(t.TempDir(), "ready.json")
	b.cmd = exec.Command(binary, "serve", "--data", data, "--ready-file", ready, //nolint:noctx // it outlives the test's context
		"--mqtt", "127.0.0.1:0", "--mqtt-ws", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0")
	b.cmd.Stdout, b.cmd.Stderr = &b.output, &b.output
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b.err = b.cmd.Wait()
		close(b.done)
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
		<-b.done
		if b.err != nil || t.Failed() {
			t.Errorf("broker: %v\n%s", b.err, b.output.String())
		}
	})
	eventually(t, "the broker serves", func() bool {
		text, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(text, b) == nil
	})
	return b
}

// eventually asks again and again, for half a minute.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("timeout: %s", what)
		}
	}
}

// mountSmallDisk mounts a disk of limited size for the log below the data
// directory, and fills a part of it. The result frees that part.
func mountSmallDisk(t *testing.T, data string) (release func()) {
	t.Helper()
	dir := filepath.Join(data, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(smallDisk)); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			t.Skipf("SKIPPED: a small disk can't be mounted without root: %v", err)
		}
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	file := filepath.Join(dir, "ballast")
	if err := os.WriteFile(file, make([]byte, ballast), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(file); err != nil {
			t.Errorf("remove ballast: %v", err)
		}
	}
}

// ledger knows which messages were confirmed and which were delivered.
type ledger struct {
	mu                   sync.Mutex
	confirmed, delivered map[uint64]int
}

func newLedger() *ledger {
	return &ledger{confirmed: map[uint64]int{}, delivered: map[uint64]int{}}
}

func (l *ledger) note(in map[uint64]int, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in[n]++
}

func (l *ledger) count(in map[uint64]int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(in)
}

// missing is how many confirmed messages were not delivered.
func (l *ledger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.confirmed {
		if l.delivered[id] == 0 {
			n++
		}
	}
	return n
}

// body is a message that does not compress, with its number.
func body(n uint64) []byte {
	b := make([]byte, 8<<10)
	_, _ = crand.Read(b)
	binary.BigEndian.PutUint64(b, n)
	return b
}

// amqpSide publishes to its queue with confirms until its context ends.
func amqpSide(ctx context.Context, t *testing.T, b *broker, l *ledger) (blockings <-chan amqp091.Blocking) {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + b.AMQP + "/")
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	told := conn.NotifyBlocked(make(chan amqp091.Blocking, 8))
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := uint64(0); ctx.Err() == nil; n++ {
			d, err := ch.PublishWithDeferredConfirm("", "from-amqp", false, false,
				amqp091.Publishing{Body: body(n), DeliveryMode: amqp091.Persistent})
			if err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			if ok, err := d.WaitContext(ctx); err == nil && ok {
				l.note(l.confirmed, n)
			} else if err == nil {
				t.Errorf("message %d was refused", n)
			}
		}
	})
	t.Cleanup(func() {
		publishing.Wait()
		_ = conn.Close()
	})
	return told
}

// mqttSide publishes with QoS 1 until its context ends; refused gets a token for
// each PUBACK with 0x97.
func mqttSide(ctx context.Context, t *testing.T, b *broker, l *ledger) (refused <-chan struct{}) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", b.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: conn})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "publisher", CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	quota := make(chan struct{}, 1)
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := uint64(1 << 32); ctx.Err() == nil; n++ {
			answer, err := c.Publish(ctx, &paho.Publish{Topic: "from/mqtt", QoS: 1, Payload: body(n)})
			switch {
			case answer != nil && answer.ReasonCode == 0x97:
				select {
				case quota <- struct{}{}:
				default:
				}
				pause := time.NewTimer(20 * time.Millisecond) // a client waits before it tries again
				select {
				case <-pause.C:
				case <-ctx.Done():
				}
				pause.Stop()
			case err == nil:
				l.note(l.confirmed, n)
			case ctx.Err() == nil:
				t.Errorf("publish: %v", err)
				return
			}
		}
	})
	t.Cleanup(func() {
		publishing.Wait()
		_ = c.Disconnect(&paho.Disconnect{})
	})
	return quota
}

// consumer receives from the queues until the test ends.
func consumer(t *testing.T, b *broker, queues []string, l *ledger) {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + b.AMQP + "/")
	if err != nil {
		t.Fatal(err)
	}
	var receiving sync.WaitGroup
	for _, q := range queues {
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if err := ch.Qos(100, 0, false); err != nil {
			t.Fatal(err)
		}
		deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		receiving.Go(func() {
			for d := range deliveries {
				l.note(l.delivered, binary.BigEndian.Uint64(d.Body))
				if err := d.Ack(false); err != nil {
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		_ = conn.Close()
		receiving.Wait()
	})
}

func declareQueues(t *testing.T, b *broker) []string {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + b.AMQP + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	queues := []string{"from-amqp", "from-mqtt"}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.QueueBind("from-mqtt", "from.mqtt", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	return queues
}

// TestFullDisk fills the disk of the log over both protocols: publishers are
// held back before it is full, consumers drain, publishing goes on by itself
// when there is room, and nothing that was confirmed is lost.
func TestFullDisk(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	release := mountSmallDisk(t, data)
	b := startBroker(t, buildBroker(t), data)
	queues := declareQueues(t, b)

	l := newLedger()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	blockings := amqpSide(ctx, t, b, l)
	refused := mqttSide(ctx, t, b, l)
	select {
	case told := <-blockings:
		if !told.Active || told.Reason != "low on disk" {
			t.Fatalf("got %+v, want blocked for low on disk", told)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the AMQP publisher was not blocked")
	}
	select {
	case <-refused:
	case <-time.After(time.Minute):
		t.Fatal("the MQTT publisher was not refused")
	}
	atFull := l.count(l.confirmed)
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Join(data, "log"), &disk); err != nil {
		t.Fatal(err)
	}
	free := disk.Bavail * uint64(disk.Bsize)
	t.Logf("%d messages confirmed, %d KiB of %d KiB free", atFull, free>>10, smallDisk>>10)
	if free == 0 {
		t.Error("the disk is full: the mark left no room")
	}

	consumer(t, b, queues, l)
	eventually(t, "consumers drain a full disk", func() bool { return l.missing() == 0 })
	if n := l.count(l.confirmed); n != atFull {
		t.Errorf("%d messages were confirmed while the disk was low", n-atFull)
	}

	release()
	select {
	case told := <-blockings:
		if told.Active {
			t.Fatalf("got %+v, want unblocked", told)
		}
	case <-time.After(time.Minute):
		t.Fatal("the AMQP publisher was not told that it may go on")
	}
	eventually(t, "publishing goes on", func() bool { return l.count(l.confirmed) >= atFull+500 })
	stop()
	eventually(t, "all that was confirmed is delivered", func() bool { return l.missing() == 0 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.HTTP+"/readyz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("readyz: %s", resp.Status)
	}
}
