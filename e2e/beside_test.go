package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBesideRabbitMQ measures Tidegate and RabbitMQ from Debian in one run, by turns,
// and prints the medians with the ratios: nothing is judged. With
// TIDEGATE_E2E_BESIDE=3 each is measured three times; it needs what the stories of
// RabbitMQ need.
func TestBesideRabbitMQ(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("TIDEGATE_E2E_BESIDE"))
	if rounds < 1 {
		t.Skip("takes minutes; set TIDEGATE_E2E_BESIDE to the number of rounds, and TIDEGATE_E2E_RABBITMQ=1")
	}
	b := startBroker(t, 1)
	b.needsAMQP()
	other := startRabbitMQ(t)
	sides := []struct{ name, addr, kind string }{
		{"Tidegate", b.AMQP, "classic"},
		{"RabbitMQ classic", other.amqp, "classic"},
		{"RabbitMQ quorum", other.amqp, "quorum"},
	}
	works := []struct{ name, flags, rate string }{
		{"publish to confirm", "--mode publish --clients 2", "confirmed_per_second"},
		{"end to end, confirms and acks", "--mode e2e --clients 2 --consumers 2", "received_per_second"},
		{"fan-out to 10 queues, deliveries", "--mode fanout --clients 1 --consumers 10", "received_per_second"},
	}
	for _, work := range works {
		rates := make([][]float64, len(sides))
		for range rounds {
			for i, side := range sides {
				line := fmt.Sprintf("bench amqp --json --duration 3s --addr %s --queue-type %s %s", side.addr, side.kind, work.flags)
				rates[i] = append(rates[i], benchRate(t, strings.Fields(line), work.rate))
			}
		}
		ours := median(rates[0])
		for i, side := range sides {
			t.Logf("| %s | %s | %.0f/s | %.1f x |", work.name, side.name, median(rates[i]), ours/median(rates[i]))
		}
	}
}

// benchRate runs the load generator and returns one of its rates.
func benchRate(t *testing.T, args []string, member string) float64 {
	t.Helper()
	path, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err != nil {
		t.Fatalf("tidegate %s: %v", strings.Join(args, " "), err)
	}
	var report map[string]any
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("report %s: %v", out, err)
	}
	rate, ok := report[member].(float64)
	if !ok || rate <= 0 {
		t.Fatalf("report %s: no %s", out, member)
	}
	return rate
}

func median(of []float64) float64 {
	return slices.Sorted(slices.Values(of))[len(of)/2]
}
