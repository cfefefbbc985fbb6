package e2e

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// gate is a listener before a server, that can be shut: connections are cut, and
// new ones refused.
type gate struct {
	addr, to string

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

func (g *gate) open(t *testing.T) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.l, g.conns = l, map[net.Conn]bool{}
	g.mu.Unlock()
	g.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.work.Go(func() { g.pass(c) })
		}
	})
}

// pass copies both ways until one side ends.
func (g *gate) pass(c net.Conn) {
	up, err := (&net.Dialer{}).DialContext(context.Background(), "unix", g.to)
	if err != nil {
		c.Close()
		return
	}
	g.mu.Lock()
	if g.conns == nil {
		g.mu.Unlock()
		c.Close()
		up.Close()
		return
	}
	g.conns[c], g.conns[up] = true, true
	g.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, up}, {up, c}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			c.Close()
			up.Close()
		})
	}
	both.Wait()
}

func (g *gate) shut() {
	g.mu.Lock()
	if g.l != nil {
		g.l.Close()
	}
	for c := range g.conns {
		c.Close()
	}
	g.l, g.conns = nil, nil
	g.mu.Unlock()
	g.work.Wait()
}

// TestEtcdAway cuts the broker off from an etcd of its own process for some
// seconds under load: publishing, consuming and acking go on, a declare fails,
// and afterwards the acks are published and declares work.
func TestEtcdAway(t *testing.T) {
	needsCrash(t)
	cfg := etcd.DefaultEmbeddedConfig()
	cfg.Dir = filepath.Join(t.TempDir(), "etcd")
	log := slog.New(slog.DiscardHandler)
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
	ch := openChannel(t, b.AMQP)
	queue := "e2e.etcdaway"
	durableQueue(t, ch, queue)
	deliveries := consumeQueue(t, openChannel(t, b.AMQP), queue, 100)

	g.shut()
	sent := 0
	for begin := time.Now(); time.Since(begin) < 4*time.Second; sent += 100 {
		messages, _ := numbered(queue, 100)
		publishConfirmed(t, b.AMQP, "", messages)
		receiveAcked(t, deliveries, 100)
	}
	if _, err := openChannel(t, b.AMQP).QueueDeclare("e2e.new", true, false, false, false, nil); err == nil {
		t.Error("declare while etcd is away: got nil, want an error")
	} else {
		t.Logf("%d messages while etcd was away; a declare: %v", sent, err)
	}
	g.open(t)

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
	eventually(t, strconv.Itoa(sent)+" acks published", func() bool {
		offsets, err := catalog.Offsets(t.Context())
		if err != nil && !errors.Is(err, metadata.ErrUnavailable) {
			t.Fatal(err)
		}
		return len(offsets) == 1 && offsets[0].Floor == uint64(sent)
	})
	eventually(t, "declares work again", func() bool {
		c := openChannel(t, b.AMQP)
		_, err := c.QueueDeclare("e2e.new", true, false, false, false, nil)
		return err == nil
	})
}
