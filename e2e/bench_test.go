package e2e

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// benchReport is what the tests want to know of "tidegate bench --json".
type benchReport struct {
	Sent       uint64 `json:"sent"`
	Confirmed  uint64 `json:"confirmed"`
	Received   uint64 `json:"received"`
	Lost       uint64 `json:"lost"`
	Duplicates uint64 `json:"duplicates_unmarked"`
	Marked     uint64 `json:"duplicates_marked"`
	Reordered  uint64 `json:"reordered"`
	Invented   uint64 `json:"invented"`
}

// TestBench runs the load generator for a moment in every mode: it checks both
// the tool and, by its sequence numbers, the broker under load.
func TestBench(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsMQTT()
		b.needsAMQP()
		for _, c := range []struct {
			line   string
			copies uint64 // deliveries of each message
		}{
			{"amqp --mode publish", 0},
			{"amqp --mode e2e --consumers 2", 1},
			{"amqp --mode fanout --clients 1 --consumers 3", 3},
			{"mqtt --mode publish --durable-session", 0},
			{"mqtt --mode e2e", 1},
			{"mqtt --mode e2e --version 4", 1},
			{"mqtt --mode fanout --clients 1 --consumers 3 --durable-session", 3},
			{"mqtt --mode e2e --rate 500 --size 64", 1},
			{"amqp --mode e2e --queue-type quorum", 1},
			{"amqp --mode backlog --messages 20000 --consumers 2", 1},
			{"mqtt --mode backlog --messages 20000 --durable-session --consumers 2", 2},
		} {
			t.Run(c.line, func(t *testing.T) {
				r := runBench(t, b, strings.Fields(c.line))
				if r.Confirmed == 0 || r.Confirmed != r.Sent {
					t.Errorf("confirmed %d of %d", r.Confirmed, r.Sent)
				}
				if want := c.copies * r.Sent; r.Received != want {
					t.Errorf("received %d, want %d", r.Received, want)
				}
				if r.Lost+r.Duplicates+r.Marked+r.Reordered+r.Invented > 0 {
					t.Errorf("a broken promise: %+v", r)
				}
			})
		}
	})
}

// runBench runs "tidegate bench" against the broker.
func runBench(t *testing.T, b *broker, args []string) benchReport {
	t.Helper()
	path, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	addr := b.AMQP
	if args[0] == "mqtt" {
		addr = b.MQTT
	}
	args = append([]string{"bench"}, args...)
	args = append(args, "--addr", addr, "--duration", "400ms", "--json")
	if b.PID > 0 {
		args = append(args, "--pid", strconv.Itoa(b.PID))
	}
	complaints := newTailBuffer(16 << 10)
	cmd := exec.CommandContext(within(t), path, args...)
	cmd.Stderr = complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tidegate %s: %v\n%s", strings.Join(args, " "), err, complaints)
	}
	var r benchReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("report %s: %v", out, err)
	}
	return r
}
