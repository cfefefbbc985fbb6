package e2e

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/metadata/etcd"
)

// copyDir copies a directory.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestOlderCopyOfTheLog puts an older copy of logs and indexes back beside the newer
// etcd. The start is refused and says what is missing, check knows it too, and once the
// loss is accepted what the copy has is served.
func TestOlderCopyOfTheLog(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	b.needsAMQP()
	queue := "e2e.older"
	durableQueue(t, openChannel(t, b.AMQP), queue)
	messages, _ := numbered(queue, 200)
	publishConfirmed(t, b.AMQP, "", messages[:100])
	b.stop()
	data := filepath.Join(b.dir, "data")
	older := filepath.Join(b.dir, "older")
	copyDir(t, filepath.Join(data, "log"), older)
	b.start()
	publishConfirmed(t, b.AMQP, "", messages[100:])
	b.stop()
	if err := os.RemoveAll(filepath.Join(data, "log")); err != nil {
		t.Fatal(err)
	}
	copyDir(t, older, filepath.Join(data, "log"))

	anywhere := "127.0.0.1:0"
	code, _, out := b.tool("serve", "--data", data, "--mqtt", anywhere, "--mqtt-ws", anywhere, "--amqp", anywhere, "--http", anywhere)
	if code == 0 {
		t.Error("the start is not refused")
	}
	for _, words := range []string{"marks in the metadata tell of LSN", "are missing, with all that was confirmed of them", "check --accept-loss"} {
		if !strings.Contains(out, words) {
			t.Errorf("the start says %s, want %q", out, words)
		}
	}
	if code, out, _ := b.tool("check", "--data", data); code != 2 || !strings.Contains(out, "log behind its checkpoint") {
		t.Errorf("check: exit code %d, %s", code, out)
	}
	if code, out, errs := b.tool("check", "--data", data, "--accept-loss", "--yes"); code != 0 {
		t.Fatalf("check --accept-loss: exit code %d, %s%s", code, out, errs)
	}
	b.start()
	q, err := openChannel(t, b.AMQP).QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil || q.Messages != 100 {
		t.Errorf("after the loss is accepted: %+v, %v, want the 100 messages of the copy", q, err)
	}
}

// TestEmptyShardsStartWithoutEtcd kills a broker of which most shards never had a record,
// while its etcd is away: it starts from the copy of the metadata.
func TestEmptyShardsStartWithoutEtcd(t *testing.T) {
	needsCrash(t)
	cfg := etcd.DefaultEmbeddedConfig()
	cfg.Dir = filepath.Join(t.TempDir(), "etcd")
	server, err := etcd.StartEmbedded(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	g := &gate{addr: freeAddr(t), to: strings.TrimPrefix(server.Endpoint(), "unix://")}
	g.open(t)
	t.Cleanup(g.shut)
	t.Setenv("TIDEGATE_METADATA_ETCD_ENDPOINTS", "http://"+g.addr)
	b := startBroker(t, 4)
	b.needsAMQP()
	queue := "e2e.empty"
	durableQueue(t, openChannel(t, b.AMQP), queue)
	messages, _ := numbered(queue, 10)
	publishConfirmed(t, b.AMQP, "", messages)
	eventually(t, "a copy of the metadata with the queue", func() bool {
		copied, err := os.ReadFile(filepath.Join(b.dir, "data", "catalog", "copy.json"))
		return err == nil && strings.Contains(string(copied), queue)
	})
	b.kill()
	g.shut()
	b.start()
	receiveAcked(t, consumeQueue(t, openChannel(t, b.AMQP), queue, 0), 10)
	g.open(t)
}
