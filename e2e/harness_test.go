package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that should come soon. It is
// long because the machine may be busy; no test that passes waits for it.
const patience = 30 * time.Second

// workDir is the folder of this test run, made and removed by TestMain.
var workDir string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if code, done := inOwnMounts(); done {
		return code
	}
	dir, err := os.MkdirTemp("", "tidegate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make the folder of the run:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	workDir = dir
	code := m.Run()
	faults.print(os.Stdout)
	return code
}

// builtBinary builds tidegate once per run and returns its path.
var builtBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "tidegate")
	args := []string{"build", "-o", path}
	if os.Getenv("TIDEGATE_E2E_RACE") == "1" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../cmd/tidegate")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build tidegate: %w\n%s", err, out)
	}
	return path, nil
})

// addresses is what the ready file says.
type addresses struct {
	MQTT   string `json:"mqtt"`
	MQTTWS string `json:"mqtt_ws"`
	AMQP   string `json:"amqp"`
	HTTP   string `json:"http"`
	PID    int    `json:"pid"`
}

// broker is one tidegate process on one data directory. It outlives crashes
// of the process: restart serves the same data on the same addresses.
type broker struct {
	addresses

	t      *testing.T
	dir    string
	shards int
	under  []string // a command that runs the binary, in front of it
	env    []string // beside that of the test
	log    *tailBuffer

	cmd  *exec.Cmd
	done chan error // the process's end, exactly one value
}

// startBroker runs tidegate with the given number of shards and stops it when
// the test ends.
func startBroker(t *testing.T, shards int) *broker {
	t.Helper()
	b := newBroker(t, t.TempDir(), shards)
	if !b.external() {
		b.start()
	}
	return b
}

// newBroker makes a broker that serves the folder "data" in dir once it is started.
func newBroker(t *testing.T, dir string, shards int) *broker {
	t.Helper()
	b := &broker{t: t, dir: dir, shards: shards, log: newTailBuffer(256 << 10)}
	b.addresses = addresses{MQTT: freeAddr(t), MQTTWS: "127.0.0.1:0", AMQP: freeAddr(t), HTTP: "127.0.0.1:0"}
	t.Cleanup(b.cleanup)
	return b
}

// external fills the addresses with those of running brokers, if asked for.
func (b *broker) external() bool {
	mqtt, amqp := os.Getenv("TIDEGATE_E2E_MQTT"), os.Getenv("TIDEGATE_E2E_AMQP")
	if mqtt == "" && amqp == "" {
		return false
	}
	b.MQTT, b.AMQP = mqtt, amqp
	return true
}

// needsMQTT skips tests that the broker under test cannot serve.
func (b *broker) needsMQTT() {
	b.t.Helper()
	if b.MQTT == "" {
		b.t.Skip("the broker under test serves no MQTT")
	}
}

// needsAMQP skips tests that the broker under test cannot serve.
func (b *broker) needsAMQP() {
	b.t.Helper()
	if b.AMQP == "" {
		b.t.Skip("the broker under test serves no AMQP")
	}
}

// needsCrash skips tests that only make sense with a process of our own.
func needsCrash(t *testing.T) {
	t.Helper()
	if os.Getenv("TIDEGATE_E2E_MQTT") != "" || os.Getenv("TIDEGATE_E2E_AMQP") != "" {
		t.Skip("the brokers under test are not ours to kill")
	}
}

// start runs the binary and waits until its ready file is there.
func (b *broker) start() {
	b.t.Helper()
	path, err := builtBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	ready := filepath.Join(b.dir, "ready.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatalf("remove the old ready file: %v", err)
	}
	args := append(slices.Clone(b.under), path,
		"serve", "--data", filepath.Join(b.dir, "data"), "--ready-file", ready,
		"--mqtt", b.MQTT, "--mqtt-ws", b.MQTTWS, "--amqp", b.AMQP, "--http", b.HTTP,
	)
	if b.shards > 1 {
		args = append(args, "--shards", strconv.Itoa(b.shards))
	}
	b.cmd = exec.Command(args[0], args[1:]...)
	// The machine's disk may be nearly full for reasons of its own; the tests of
	// back-pressure bring a disk of their own.
	b.cmd.Env = append(os.Environ(), "TIDEGATE_CORE_PRESSURE_DISK_FREE_BYTES=67108864")
	b.cmd.Env = append(b.cmd.Env, b.env...)
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.SysProcAttr = dieWithParent()
	if err := b.cmd.Start(); err != nil {
		b.t.Fatalf("start tidegate: %v", err)
	}
	done := make(chan error, 1)
	b.done = done
	go func(cmd *exec.Cmd) { done <- cmd.Wait() }(b.cmd)
	b.awaitReady(ready)
}

// awaitReady polls for the ready file, which appears complete or not at all.
func (b *broker) awaitReady(path string) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		data, err := os.ReadFile(path)
		if err == nil {
			if err := json.Unmarshal(data, &b.addresses); err != nil {
				b.t.Fatalf("ready file %q: %v", data, err)
			}
			return
		}
		select {
		case err := <-b.done:
			b.cmd = nil
			b.t.Fatalf("tidegate ended before it was ready: %v", err)
		case <-deadline.C:
			b.t.Fatalf("tidegate not ready after %v", patience)
		case <-tick.C:
		}
	}
}

// kill ends the process as a power failure of the machine's kernel would not:
// SIGKILL, no farewell. It returns when the process is gone.
func (b *broker) kill() {
	b.t.Helper()
	if err := b.cmd.Process.Kill(); err != nil {
		b.t.Fatalf("kill tidegate: %v", err)
	}
	<-b.done
	b.cmd = nil
}

// restart kills the process and serves the same data on the same addresses.
func (b *broker) restart() {
	b.t.Helper()
	b.kill()
	b.start()
}

// stop asks the process to end and checks that it does, with exit code 0.
func (b *broker) stop() {
	b.t.Helper()
	b.signalStop()
	b.awaitStop()
}

func (b *broker) signalStop() {
	b.t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatalf("signal tidegate: %v", err)
	}
}

func (b *broker) awaitStop() {
	b.t.Helper()
	select {
	case err := <-b.done:
		b.cmd = nil
		if err != nil {
			b.t.Errorf("tidegate after SIGTERM: %v, want exit code 0", err)
		}
	case <-time.After(patience):
		b.t.Errorf("tidegate still runs %v after SIGTERM", patience)
	}
}

// cleanup ends the process if it still runs and shows its log if the test
// failed.
func (b *broker) cleanup() {
	if b.cmd != nil {
		b.stop()
	}
	if b.cmd != nil {
		b.kill()
	}
	if b.t.Failed() {
		b.t.Logf("log of tidegate (its end):\n%s", b.log)
	}
}

// eachShardCount runs a test against a fresh broker with one shard and one
// with three.
func eachShardCount(t *testing.T, test func(t *testing.T, b *broker)) {
	t.Helper()
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			test(t, startBroker(t, shards))
		})
	}
}

// givenPorts are the ports that freeAddr has handed out in this run.
var givenPorts sync.Map

// freeAddr finds a loopback address for a broker that will be restarted. The
// port lies below those the kernel gives to clients: otherwise a client that
// knocks while the broker is down can be given the broker's own port.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if _, taken := givenPorts.LoadOrStore(port, true); taken {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// within returns a context that ends with the test or when patience does.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a condition that no channel tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, patience, what, ok)
}

// eventuallyWithin polls with a patience of its own.
func eventuallyWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}
