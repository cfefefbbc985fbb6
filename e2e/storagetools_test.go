package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tool runs a command of the binary and returns its exit code and what it wrote.
func (b *broker) tool(args ...string) (code int, stdout, stderr string) {
	b.t.Helper()
	path, err := builtBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.CommandContext(within(b.t), path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errs.String()
	}
	if err != nil {
		b.t.Fatalf("run %v: %v", args, err)
	}
	return 0, out.String(), errs.String()
}

func (b *broker) data() string { return filepath.Join(b.dir, "data") }

// checkReport is the part of the report of tidegate check that the tests look at.
type checkReport struct {
	Sound  bool `json:"sound"`
	Shards []struct {
		Segments []struct {
			Name  string `json:"name"`
			Bytes int64  `json:"bytes"`
			State string `json:"state"`
		} `json:"segments"`
		Findings []struct {
			Severity string `json:"severity"`
			File     string `json:"file"`
			From     int64  `json:"from_byte"`
			To       int64  `json:"to_byte"`
			First    uint64 `json:"first_lsn"`
			Last     uint64 `json:"last_lsn"`
		} `json:"findings"`
	} `json:"shards"`
}

func (b *broker) check(want int) checkReport {
	b.t.Helper()
	code, stdout, stderr := b.tool("check", "--data", b.data(), "--json")
	if code != want {
		b.t.Fatalf("check: exit code %d, want %d\n%s%s", code, want, stdout, stderr)
	}
	var r checkReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		b.t.Fatalf("check --json: %v\n%s", err, stdout)
	}
	return r
}

// messagesByLSN tells which message each record is.
func (b *broker) messagesByLSN() map[uint64]int {
	b.t.Helper()
	code, stdout, stderr := b.tool("segment", "dump", "--json", "--payload", "8", filepath.Join(b.data(), "log", "shard-0"))
	if code != 0 {
		b.t.Fatalf("segment dump: exit code %d: %s", code, stderr)
	}
	all := map[uint64]int{}
	for line := range strings.Lines(stdout) {
		var r struct {
			LSN     uint64
			Kind    string
			Payload []byte
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			b.t.Fatalf("segment dump: %v: %s", err, line)
		}
		if r.Kind != "message" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimLeft(string(r.Payload), "0"))
		if err != nil {
			b.t.Fatalf("payload %q of record %d: %v", r.Payload, r.LSN, err)
		}
		all[r.LSN] = n
	}
	return all
}

// refusesToStart runs serve and checks that it ends with an error that holds the
// text.
func (b *broker) refusesToStart(text string) {
	b.t.Helper()
	code, _, stderr := b.tool("serve", "--data", b.data(), "--mqtt", b.MQTT, "--mqtt-ws", b.MQTTWS, "--amqp", b.AMQP, "--http", b.HTTP)
	if code != 1 || !strings.Contains(stderr, text) || !strings.Contains(stderr, "tidegate check") {
		b.t.Fatalf("serve: exit code %d, want 1 and %q\n%s", code, text, stderr)
	}
}

// storedMessages is how many messages the tests below publish.
const storedMessages = 400

// fillStore publishes numbered messages in many batches, 1 to storedMessages,
// and settles the first of them.
func (b *broker) fillStore(settled int) {
	b.t.Helper()
	ch := openChannel(b.t, b.AMQP)
	durableQueue(b.t, ch, "store")
	for n := 1; n <= storedMessages; n += 10 {
		batch := make([]keyed, 0, 10)
		for i := range 10 {
			noise := make([]byte, 600)
			_, _ = rand.Read(noise)
			body := []byte(strings.Repeat("0", 8-len(strconv.Itoa(n+i))) + strconv.Itoa(n+i) + hex.EncodeToString(noise))
			batch = append(batch, keyed{key: "store", body: body})
		}
		publishConfirmed(b.t, b.AMQP, "", batch)
	}
	receiveAcked(b.t, consumeQueue(b.t, ch, "store", 1), settled)
}

// drainStore consumes until nothing comes, and returns which messages came; true
// for those that came marked.
func (b *broker) drainStore() map[int]bool {
	b.t.Helper()
	ch := openChannel(b.t, b.AMQP)
	deliveries := consumeQueue(b.t, ch, "store", 50)
	got := map[int]bool{}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				b.t.Fatal("the consumer's channel was closed")
			}
			n, err := strconv.Atoi(strings.TrimLeft(string(d.Body[:8]), "0"))
			if err != nil {
				b.t.Fatalf("body %q", d.Body[:8])
			}
			got[n] = d.Redelivered
			if err := d.Ack(false); err != nil {
				b.t.Fatal(err)
			}
		case <-time.After(time.Second):
			if err := ch.Close(); err != nil {
				b.t.Fatal(err)
			}
			return got
		}
	}
}

// flipByte changes one byte of a file.
func flipByte(t *testing.T, path string, at int64) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[at] ^= 0x10
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAcceptedLossOnDisk damages the log of a stopped broker below its
// watermark, gives up what is lost, and finds everything else delivered.
func TestAcceptedLossOnDisk(t *testing.T) {
	needsCrash(t)
	t.Setenv("TIDEGATE_CORE_SEGMENT_BYTES", "65536")
	const settled = 35
	for _, tc := range []struct {
		name    string
		kill    bool // before a checkpoint, else a clean stop
		missing bool // the newest segment is gone, else a byte of the third is wrong
	}{
		{"above the checkpoint", true, false},
		{"below the checkpoint", false, false},
		{"newest segment missing", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := startBroker(t, 1)
			b.fillStore(settled)
			if code, _, stderr := b.tool("check", "--data", b.data()); code != 3 {
				t.Errorf("check of a running broker's data: exit code %d, want 3: %s", code, stderr)
			}
			if tc.kill {
				b.kill()
			} else {
				b.stop()
			}
			segments := b.check(0).Shards[0].Segments
			messages := b.messagesByLSN()
			if len(segments) < 5 || len(messages) != storedMessages {
				t.Fatalf("%d segments, %d messages", len(segments), len(messages))
			}
			dir := filepath.Join(b.data(), "log", "shard-0")
			at := segments[2].Bytes / 2
			if tc.missing {
				if err := os.Remove(filepath.Join(dir, segments[len(segments)-1].Name)); err != nil {
					t.Fatal(err)
				}
			} else {
				flipByte(t, filepath.Join(dir, segments[2].Name), at)
			}

			found := b.check(2).Shards[0].Findings
			if len(found) != 1 || found[0].Severity != "damage" || found[0].First == 0 || found[0].Last < found[0].First ||
				!tc.missing && (found[0].File != segments[2].Name || found[0].From > at || found[0].To <= at) {
				t.Fatalf("findings %+v, byte %d of %s is wrong", found, at, segments[2].Name)
			}
			switch {
			case tc.kill:
				b.refusesToStart("records " + strconv.FormatUint(found[0].First, 10) + " to " + strconv.FormatUint(found[0].Last, 10))
			case tc.missing:
				b.refusesToStart("log behind its checkpoint")
			}
			code, stdout, stderr := b.tool("check", "--data", b.data(), "--accept-loss")
			if code != 2 || !strings.Contains(stderr, "not confirmed") {
				t.Fatalf("accepted without a word: exit code %d\n%s%s", code, stdout, stderr)
			}
			code, stdout, stderr = b.tool("check", "--data", b.data(), "--accept-loss", "--yes")
			named := "records " + strconv.FormatUint(found[0].First, 10) + " to " + strconv.FormatUint(found[0].Last, 10)
			if code != 0 || !strings.Contains(stderr, named) {
				t.Fatalf("accept: exit code %d, want 0 and %q\n%s%s", code, named, stdout, stderr)
			}
			t.Logf("accepted:\n%s%s", stderr, stdout)
			b.check(0)

			b.start()
			got := b.drainStore()
			lost := 0
			for lsn, n := range messages {
				redelivered, came := got[n]
				switch {
				case lsn >= found[0].First && lsn <= found[0].Last:
					lost++
					if came {
						t.Errorf("message %d of record %d came, which is lost", n, lsn)
					}
				case n <= settled && came && (!redelivered || !tc.kill):
					t.Errorf("message %d was settled and came again, redelivered %v", n, redelivered)
				case n > settled && !came:
					t.Errorf("message %d of record %d did not come", n, lsn)
				}
				delete(got, n)
			}
			if len(got) > 0 {
				t.Errorf("messages that nobody published: %v", slices.Sorted(maps.Keys(got)))
			}
			t.Logf("%d messages lost, as named", lost)
			b.fillMore()
		})
	}
}

// fillMore checks that the queue takes and gives on.
func (b *broker) fillMore() {
	b.t.Helper()
	publishConfirmed(b.t, b.AMQP, "", []keyed{{key: "store", body: []byte("00000009 and more")}})
	if got := b.drainStore(); len(got) != 1 {
		b.t.Errorf("after the repair: %v", got)
	}
}
