package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Programs of other clients that use one feature of AMQP after the other: they
// check what comes, and end with an error when it is not what RabbitMQ does.

func TestClientPikaFeatures(t *testing.T) {
	needsPython(t, "pika")
	b := startBroker(t, 1)
	b.needsAMQP()
	runFeatures(t, os.Environ(), 12, python, "clients/pika_features.py", b.AMQP)
}

func TestClientPikaLifecycle(t *testing.T) {
	needsPython(t, "pika")
	b := startBroker(t, 1)
	b.needsAMQP()
	runFeatures(t, os.Environ(), 14, python, "clients/pika_lifecycle.py", b.AMQP, b.HTTP)
}

func TestClientAMQPLibFeatures(t *testing.T) {
	env := needsNode(t, "amqplib")
	b := startBroker(t, 1)
	b.needsAMQP()
	runFeatures(t, env, 12, "node", "clients/amqplib_features.js", b.AMQP)
}

func TestClientAMQPLibLifecycle(t *testing.T) {
	env := needsNode(t, "amqplib")
	b := startBroker(t, 1)
	b.needsAMQP()
	runFeatures(t, env, 9, "node", "clients/amqplib_lifecycle.js", b.AMQP)
}

func TestClientAMQPLibGoverned(t *testing.T) {
	env := needsNode(t, "amqplib")
	b := startBroker(t, 1)
	b.needsAMQP()
	b.needsHTTP()
	runFeatures(t, env, 5, "node", "clients/amqplib_governed.js", b.AMQP, b.HTTP)
}

// runFeatures runs a program that prints the name of each feature that works.
func runFeatures(t *testing.T, env []string, want int, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(within(t), name, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
	if got := strings.Count(string(out), "\n"); got != want {
		t.Errorf("%s: %d features work, want %d:\n%s", args[0], got, want, out)
	}
}
