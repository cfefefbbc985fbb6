package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// roundTrip is how many messages a foreign client publishes and consumes.
const roundTrip = 40

// python is the interpreter that Debian's python3-pika belongs to.
const python = "/usr/bin/python3"

// missing skips a test whose client is not installed, or fails it where every
// client must be there.
func missing(t *testing.T, client string, reason any) {
	t.Helper()
	if os.Getenv("TIDEGATE_E2E_ALL") == "1" {
		t.Fatalf("%s is not installed: %v", client, reason)
	}
	t.Skipf("%s is not installed: %v", client, reason)
}

// needsProgram returns the path of a program.
func needsProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, err)
	}
	return path
}

// needsPython checks that Python has a module.
func needsPython(t *testing.T, module string) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import "+module).CombinedOutput(); err != nil {
		missing(t, "Python's "+module, fmt.Errorf("%w %s", err, out))
	}
}

// needsNode checks that node finds a package, and returns the environment in
// which it does.
func needsNode(t *testing.T, module string) []string {
	t.Helper()
	needsProgram(t, "node")
	env := os.Environ()
	if cache, err := os.UserCacheDir(); err == nil && os.Getenv("NODE_PATH") == "" {
		env = append(env, "NODE_PATH="+filepath.Join(cache, "tidegate-ci", "node", "node_modules"))
	}
	cmd := exec.Command("node", "-e", "require('"+module+"')")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm's "+module, fmt.Errorf("%w %.200s", err, out))
	}
	return env
}

// runScript runs a round trip script: when it says "half" the broker is
// killed and restarted, and its last line tells what it received.
func runScript(t *testing.T, b *broker, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	complaints := newTailBuffer(16 << 10)
	cmd.Stderr = complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(3*patience, func() { cmd.Process.Kill() })
	defer hang.Stop()
	last := ""
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if last = lines.Text(); last == "half" {
			b.restart()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args[0], err, complaints)
	}
	checkReceived(t, last)
}

// checkReceived checks a script's list of [number, duplicate mark]: every
// number comes in order, a number that comes again is marked.
func checkReceived(t *testing.T, report string) {
	t.Helper()
	var received [][2]any
	if err := json.Unmarshal([]byte(report), &received); err != nil {
		t.Fatalf("the script's report %.200q: %v", report, err)
	}
	next := 1
	for _, r := range received {
		n, marked := int(r[0].(float64)), r[1].(bool)
		switch {
		case n == next:
			next++
		case n > next:
			t.Errorf("number %d came before %d", n, next)
			next = n + 1
		case !marked:
			t.Errorf("number %d came again without a mark", n)
		}
	}
	if next != roundTrip+1 {
		t.Errorf("received up to %d, want %d", next-1, roundTrip)
	}
}

func TestClientPika(t *testing.T) {
	needsCrash(t)
	needsPython(t, "pika")
	b := startBroker(t, 1)
	runScript(t, b, os.Environ(), python, "clients/pika_roundtrip.py", b.AMQP, "client.pika", strconv.Itoa(roundTrip))
}

func TestClientPahoPython(t *testing.T) {
	needsCrash(t)
	needsPython(t, "paho.mqtt.client")
	b := startBroker(t, 1)
	runScript(t, b, os.Environ(), python, "clients/paho_roundtrip.py", b.MQTT, "client/paho-python", strconv.Itoa(roundTrip))
}

func TestClientAMQPLib(t *testing.T) {
	needsCrash(t)
	env := needsNode(t, "amqplib")
	b := startBroker(t, 1)
	runScript(t, b, env, "node", "clients/amqplib_roundtrip.js", b.AMQP, "client.amqplib", strconv.Itoa(roundTrip))
}

func TestClientMQTTJS(t *testing.T) {
	needsCrash(t)
	env := needsNode(t, "mqtt")
	b := startBroker(t, 1)
	for _, c := range []struct{ name, url, version string }{
		{"tcp 3.1.1", "mqtt://" + b.MQTT, "4"},
		{"tcp 5", "mqtt://" + b.MQTT, "5"},
		{"websocket 3.1.1", "ws://" + b.MQTTWS + "/mqtt", "4"},
		{"websocket 5", "ws://" + b.MQTTWS + "/mqtt", "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := "client/mqttjs/" + strings.ReplaceAll(c.name, " ", "-")
			runScript(t, b, env, "node", "clients/mqttjs_roundtrip.js", c.url, topic, strconv.Itoa(roundTrip), c.version)
		})
	}
}

func TestClientMosquitto(t *testing.T) {
	pub, sub := needsProgram(t, "mosquitto_pub"), needsProgram(t, "mosquitto_sub")
	b := startBroker(t, 1)
	b.needsMQTT()
	host, port, _ := strings.Cut(b.MQTT, ":")
	for _, version := range []string{"311", "5"} {
		t.Run("version "+version, func(t *testing.T) {
			topic := "client/cli/" + version
			session := []string{"-h", host, "-p", port, "-V", version, "-i", "cli-" + version, "-c", "-q", "1", "-t", topic + "/#"}
			if version == "5" {
				session = append(session, "-x", "3600")
			}
			output(t, "", sub, append(session, "-E")...)
			output(t, "1\n2\n3\n", pub, "-h", host, "-p", port, "-V", version, "-q", "1", "-t", topic+"/a", "-l")
			if b.cmd != nil {
				b.restart()
			}
			output(t, "4\n5\n6\n", pub, "-h", host, "-p", port, "-V", version, "-q", "2", "-t", topic+"/a", "-l")
			got := strings.Fields(output(t, "", sub, append(session, "-C", "6", "-W", "20")...))
			if diff := cmp.Diff([]string{"1", "2", "3", "4", "5", "6"}, got); diff != "" {
				t.Errorf("received (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientAMQPTools(t *testing.T) {
	pub, sub := needsProgram(t, "amqp-publish"), needsProgram(t, "amqp-consume")
	b := startBroker(t, 1)
	b.needsAMQP()
	queue := testQueue(t, b)
	url := "--url=" + strings.TrimSuffix(amqpURL(b.AMQP), "/") // with the slash these programs mean vhost ""
	output(t, "1\n2\n3\n", pub, url, "-p", "-r", queue, "-l")
	awaitReady(t, b, queue, 3)
	if b.cmd != nil {
		b.restart()
	}
	output(t, "", pub, url, "-p", "-e", "", "-r", queue, "-C", "text/plain", "-b", "4\n")
	awaitReady(t, b, queue, 4)
	got := strings.Fields(output(t, "", sub, url, "-q", queue, "-c", "4", "cat"))
	if diff := cmp.Diff([]string{"1", "2", "3", "4"}, got); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

// awaitReady waits until a queue has n messages: a publisher without confirms
// does not know when its messages are stored.
func awaitReady(t *testing.T, b *broker, queue string, n int) {
	t.Helper()
	ch := openChannel(t, b.AMQP)
	eventually(t, fmt.Sprintf("%s has %d messages", queue, n), func() bool {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err == nil && q.Messages == n
	})
}

// output runs a program to its end and returns what it printed.
func output(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	complaints := newTailBuffer(16 << 10)
	cmd.Stderr = complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, complaints)
	}
	return string(out)
}
