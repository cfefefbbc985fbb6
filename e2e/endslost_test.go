package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestLostEndsOnDisk garbles or removes the file by which an index is made again, and
// the index: check names it, the start that it lets by gives all that was confirmed.
func TestLostEndsOnDisk(t *testing.T) {
	needsCrash(t)
	t.Setenv("TIDEGATE_CORE_SEGMENT_BYTES", "65536")
	t.Setenv("TIDEGATE_CORE_CHECKPOINT_BYTES", "1")
	const settled = 35
	for _, tc := range []struct {
		name    string
		garbled bool
	}{{"garbled", true}, {"missing", false}} {
		t.Run(tc.name, func(t *testing.T) {
			b := startBroker(t, 1)
			b.fillStore(settled)
			dir := filepath.Join(b.data(), "log", "shard-0")
			ends := filepath.Join(dir, "ENDS")
			for _, path := range []string{ends, filepath.Join(dir, "MANIFEST")} {
				eventually(t, path, func() bool {
					_, err := os.Stat(path)
					return err == nil
				})
			}
			b.stop()
			b.check(0)
			if tc.garbled {
				flipByte(t, ends, 5)
			} else if err := os.Remove(ends); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(b.data(), "log", "index-0")); err != nil {
				t.Fatal(err)
			}

			code, stdout, stderr := b.tool("check", "--data", b.data())
			if code != 2 || !strings.Contains(stdout, "ENDS") || strings.Contains(stdout, "nothing to do") {
				t.Fatalf("check: exit code %d, want 2 and ENDS named, and something to do\n%s%s", code, stdout, stderr)
			}
			if tc.garbled {
				b.refusesToStart("tidegate check --accept-loss")
			}
			if code, stdout, stderr = b.tool("check", "--data", b.data(), "--accept-loss", "--yes"); code != 0 {
				t.Fatalf("accept: exit code %d\n%s%s", code, stdout, stderr)
			}
			b.check(0)

			b.start()
			b.confirmedComes(settled)
		})
	}
}

// confirmedComes consumes until all messages behind the settled ones have come.
func (b *broker) confirmedComes(settled int) {
	b.t.Helper()
	missing := map[int]bool{}
	for n := settled + 1; n <= storedMessages; n++ {
		missing[n] = true
	}
	deliveries := consumeQueue(b.t, openChannel(b.t, b.AMQP), "store", 50)
	for len(missing) > 0 {
		d := receive(b.t, deliveries)
		n, err := strconv.Atoi(strings.TrimLeft(string(d.Body[:8]), "0"))
		if err != nil {
			b.t.Fatalf("body %q", d.Body[:8])
		}
		delete(missing, n)
		if err := d.Ack(false); err != nil {
			b.t.Fatal(err)
		}
	}
}
