package e2e

import (
	"io"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestServeIsReadySmallAndStops holds the figures that the README gives: ready
// in a second, less than 80 MiB at rest, exit code 0 after SIGTERM.
func TestServeIsReadySmallAndStops(t *testing.T) {
	needsCrash(t)
	if os.Getenv("TIDEGATE_E2E_RACE") == "1" {
		t.Skip("the race detector costs time and memory")
	}
	if _, err := builtBinary(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	b := startBroker(t, 1)
	t.Logf("ready after %v", time.Since(start).Round(time.Millisecond))
	if runtime.GOOS == "linux" {
		if kib := memory(t, b.PID, "VmRSS"); kib > 80<<10 {
			t.Errorf("memory at rest: %d KiB, want less than %d", kib, 80<<10)
		} else {
			t.Logf("memory at rest: %d KiB", kib)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		req, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+b.HTTP+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("GET %s: %v", path, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("GET %s: status %d, %v: %.200s", path, res.StatusCode, err, body)
		}
	}
	b.stop()
}
