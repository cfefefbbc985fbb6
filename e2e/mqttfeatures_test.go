package e2e

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
)

// Programs of other MQTT clients that use one feature after the other; the round trips
// with a restart of the broker are in clients_test.go and goclients_test.go.

func TestClientPahoPythonFeatures(t *testing.T) {
	needsPython(t, "paho.mqtt.client")
	b := startBroker(t, 1)
	b.needsMQTT()
	runFeatures(t, os.Environ(), 15, python, "clients/paho_features.py", b.MQTT)
}

func TestClientMQTTJSFeatures(t *testing.T) {
	env := needsNode(t, "mqtt")
	b := startBroker(t, 1)
	b.needsMQTT()
	for _, transport := range []string{"mqtt://" + b.MQTT, "ws://" + b.MQTTWS + "/mqtt"} {
		for version, features := range map[string]int{"4": 4, "5": 9} {
			scheme, _, _ := strings.Cut(transport, ":")
			t.Run(scheme+" "+version, func(t *testing.T) {
				runFeatures(t, env, features, "node", "clients/mqttjs_features.js", transport, version)
			})
		}
	}
}

// TestClientPahoV3Features has QoS 0, retained messages, a will and a session that ends,
// with a client that knows MQTT 3.1.1 alone.
func TestClientPahoV3Features(t *testing.T) {
	b := startBroker(t, 1)
	b.needsMQTT()
	got := make(chan mqtt3.Message, inbox)
	keep := func(_ mqtt3.Client, m mqtt3.Message) { got <- m }
	next := func(topic, payload string, qos byte, retained bool) {
		t.Helper()
		select {
		case m := <-got:
			if m.Topic() != topic || string(m.Payload()) != payload || m.Qos() != qos || m.Retained() != retained {
				t.Errorf("got %s %q, QoS %d, retained %t; want %s %q, QoS %d, retained %t",
					m.Topic(), m.Payload(), m.Qos(), m.Retained(), topic, payload, qos, retained)
			}
		case <-time.After(patience):
			t.Fatalf("no message, want %s %q", topic, payload)
		}
	}
	pub := connect3(t, options3(b.MQTT, "v3-pub", true))
	await3(t, "publish", pub.Publish("v3/kept", 1, true, "old"))
	await3(t, "publish", pub.Publish("v3/kept", 1, true, "value"))
	sub := connect3(t, options3(b.MQTT, "v3-sub", true))
	await3(t, "subscribe", sub.Subscribe("v3/#", 2, keep))
	next("v3/kept", "value", 1, true)
	for qos := range byte(3) {
		await3(t, "publish", pub.Publish("v3/live", qos, false, strconv.Itoa(int(qos))))
		next("v3/live", strconv.Itoa(int(qos)), qos, false)
	}
	polite := connect3(t, options3(b.MQTT, "v3-polite", true).SetWill("v3/will", "polite", 1, false))
	polite.Disconnect(250)
	twin := options3(b.MQTT, "v3-lost", true).SetWill("v3/will", "lost", 1, false)
	connect3(t, twin)
	connect3(t, options3(b.MQTT, "v3-lost", true)) // takes the session over: the other is lost
	next("v3/will", "lost", 1, false)
	await3(t, "unsubscribe", sub.Unsubscribe("v3/#"))
	await3(t, "publish", pub.Publish("v3/live", 1, false, "nobody"))
	nothingMore(t, got)
}

// TestClientMosquittoFeatures has retained messages, wills, QoS 0 and the properties of
// MQTT 5 with the programs of mosquitto.
func TestClientMosquittoFeatures(t *testing.T) {
	pub, sub := needsProgram(t, "mosquitto_pub"), needsProgram(t, "mosquitto_sub")
	b := startBroker(t, 1)
	b.needsMQTT()
	host, port, _ := strings.Cut(b.MQTT, ":")
	for _, version := range []string{"311", "5"} {
		t.Run("version "+version, func(t *testing.T) {
			to := []string{"-h", host, "-p", port, "-V", version}
			topic := "cli/" + version
			publish := func(args ...string) { t.Helper(); output(t, "", pub, append(to, args...)...) }
			subscribe := func(args ...string) string {
				t.Helper()
				return output(t, "", sub, append(append(to, "-W", "20"), args...)...)
			}
			for _, value := range []string{"old", "value"} {
				publish("-t", topic+"/kept", "-r", "-q", "1", "-m", value)
			}
			publish("-t", topic+"/gone", "-r", "-q", "1", "-m", "x")
			publish("-t", topic+"/gone", "-r", "-q", "1", "-n")
			if got := subscribe("-t", topic+"/+", "-q", "1", "-C", "1", "-F", "%t %p %q %r"); got != topic+"/kept value 1 1\n" {
				t.Errorf("retained: got %q", got)
			}
			for _, qos := range []string{"0", "1", "2"} {
				lines := follow(t, sub, append(to, "-t", topic+"/live"+qos, "-q", qos, "-C", "1", "-F", "%p %q")...)
				publish("-t", topic+"/live"+qos, "-q", qos, "-m", "hello")
				if got := <-lines; got != "hello "+qos {
					t.Errorf("QoS %s: got %q", qos, got)
				}
			}
			wills := follow(t, sub, append(to, "-t", topic+"/will", "-q", "1", "-C", "1")...)
			lost := lineByLine(t, sub, append(to, "-t", topic+"/nothing", "-d",
				"--will-topic", topic+"/will", "--will-payload", "gone", "--will-qos", "1")...)
			awaitSubscribed(t, lost)
			if err := lost.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if got := <-wills; got != "gone" {
				t.Errorf("will: got %q", got)
			}
		})
	}
	to := []string{"-h", host, "-p", port, "-V", "5"}
	lines := follow(t, sub, append(to, "-t", "cli/props", "-q", "1", "-C", "1", "-F", "%C|%R|%D|%P|%S")...)
	output(t, "", pub, append(to, "-t", "cli/props", "-q", "1", "-m", "x",
		"-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic", "cli/answers",
		"-D", "publish", "correlation-data", "q1", "-D", "publish", "user-property", "a", "1",
		"-D", "publish", "user-property", "b", "2", "-D", "publish", "topic-alias", "3")...)
	if diff := cmp.Diff("text/plain|cli/answers|q1|a:1 b:2|", <-lines); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

// follow runs a subscriber and returns its lines once it has subscribed.
func follow(t *testing.T, name string, args ...string) <-chan string {
	t.Helper()
	cmd := lineByLine(t, name, append(args, "-d")...)
	return awaitSubscribed(t, cmd)
}

// lineByLine is a program that writes each line at once, although nobody sits there.
func lineByLine(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(needsProgram(t, "stdbuf"), append([]string{"-oL", name}, args...)...)
}

// awaitSubscribed starts a mosquitto_sub that tells what it does, and waits until it has
// subscribed. The lines that it prints of messages follow.
func awaitSubscribed(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	subscribed, lines := make(chan bool, 1), make(chan string, 100)
	go func() {
		defer close(lines)
		defer cancel()
		defer stop()
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			switch line := scan.Text(); {
			case strings.HasPrefix(line, "Subscribed"):
				subscribed <- true
			case strings.HasPrefix(line, "Client "):
			default:
				lines <- line
			}
		}
		io.Copy(io.Discard, out)
		cmd.Wait()
		close(subscribed)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		for range lines {
		}
	})
	if !<-subscribed {
		t.Fatalf("%s ended before it had subscribed", cmd.Path)
	}
	return lines
}
