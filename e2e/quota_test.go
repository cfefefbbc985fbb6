package e2e

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// TestEtcdQuota fills an etcd up to its quota, which raises its alarm NOSPACE: publishing,
// consuming and acking go on, a declare fails and says why, a kill and a start lose
// nothing, and once etcd has room again declares work and acks are published.
func TestEtcdQuota(t *testing.T) {
	needsCrash(t)
	log := slog.New(slog.DiscardHandler)
	cfg := etcd.DefaultEmbeddedConfig()
	cfg.Dir, cfg.Quota, cfg.Maintenance = filepath.Join(t.TempDir(), "etcd"), 16<<20, time.Hour
	server, err := etcd.StartEmbedded(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	g := &gate{addr: freeAddr(t), to: strings.TrimPrefix(server.Endpoint(), "unix://")}
	g.open(t)
	t.Cleanup(g.shut)
	t.Setenv("TIDEGATE_METADATA_ETCD_ENDPOINTS", "http://"+g.addr)
	b := startBroker(t, 1)
	b.needsAMQP()
	queue := "e2e.quota"
	durableQueue(t, openChannel(t, b.AMQP), queue)

	fillEtcd(t, server)
	deliveries := consumeQueue(t, openChannel(t, b.AMQP), queue, 100)
	messages, _ := numbered(queue, 500)
	publishConfirmed(t, b.AMQP, "", messages)
	receiveAcked(t, deliveries, 500)
	_, err = openChannel(t, b.AMQP).QueueDeclare("e2e.new", true, false, false, false, nil)
	if err == nil || !strings.Contains(err.Error(), "metadata") {
		t.Errorf("declare while etcd is full: got %v, want an error that tells of the metadata", err)
	}
	publishConfirmed(t, b.AMQP, "", messages[:100])
	b.restart()
	receiveAcked(t, consumeQueue(t, openChannel(t, b.AMQP), queue, 100), 100)

	g.shut()
	server.Close()
	cfg.Quota, cfg.Maintenance = 64<<20, 100*time.Millisecond
	if server, err = etcd.StartEmbedded(t.Context(), cfg, log); err != nil {
		t.Fatal(err)
	}
	g.to = strings.TrimPrefix(server.Endpoint(), "unix://")
	g.open(t)
	eventually(t, "declares work again", func() bool {
		_, err := openChannel(t, b.AMQP).QueueDeclare("e2e.new", true, false, false, false, nil)
		return err == nil
	})
	store, err := etcd.Open(etcd.Config{Endpoints: []string{server.Endpoint()}}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	catalog, err := metadata.OpenCatalog(t.Context(), store, metadata.DefaultCatalogConfig(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer catalog.Close()
	eventually(t, "600 acks published", func() bool {
		offsets, err := catalog.Offsets(t.Context())
		if err != nil && !errors.Is(err, metadata.ErrUnavailable) {
			t.Fatal(err)
		}
		return len(offsets) == 1 && offsets[0].Floor == 600
	})
}

// fillEtcd writes until the server refuses.
func fillEtcd(t *testing.T, server *etcd.Embedded) {
	t.Helper()
	store, err := etcd.Open(etcd.Config{Endpoints: []string{server.Endpoint()}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	value := []byte(strings.Repeat("x", 1<<20))
	for range 64 {
		if _, _, err := store.Txn(t.Context(), nil, []metadata.Op{{Key: "/filler", Value: value}}); err != nil {
			if !errors.Is(err, metadata.ErrUnavailable) || !strings.Contains(err.Error(), "space") {
				t.Fatalf("full: got %v", err)
			}
			return
		}
	}
	t.Fatal("etcd takes more than its quota")
}
