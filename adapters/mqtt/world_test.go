package mqtt_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/adapters/mqtt"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an MQTT server on a TCP port, on an engine whose file system can
// lose power.
type world struct {
	t      testing.TB
	cfg    mqtt.Config
	clock  *later
	fs     *vfs.MemFS
	store  *memory.Store
	cat    *metadata.Catalog
	broker *core.Broker
	server *mqtt.Server
	addr   string

	listener net.Listener
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	grace    atomic.Int64                 // of connections made from now on, a time.Duration
	shown    atomic.Pointer[gateway.Conn] // whose certificate clients show, nil for none
}

// later is the clock of the system, some time ahead. Its timers are not.
type later struct {
	clock.Clock
	ahead atomic.Int64
}

func (l *later) Now() time.Time { return l.Clock.Now().Add(time.Duration(l.ahead.Load())) }

func newWorld(t testing.TB, change ...func(*mqtt.Config)) *world {
	t.Helper()
	w := &world{t: t, cfg: mqtt.Default(), clock: &later{Clock: clock.System}, fs: vfs.NewCrashableMem(), store: memory.New()}
	for _, fn := range change {
		fn(&w.cfg)
	}
	w.must(w.cfg.Validate())
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() {
	w.t.Helper()
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	var err error
	w.cat, err = metadata.OpenCatalog(ctx, w.store, metadata.CatalogConfig{Cluster: "test"}, log)
	w.must(err)
	for _, ns := range []string{"/", "plant"} {
		_, err = w.cat.CreateNamespace(ctx, metadata.Namespace{Name: ns})
		w.must(err)
	}
	w.user("guest", "", ".*", ".*")
	cfg := core.DefaultConfig()
	cfg.MaxMessageSize = 1 << 20
	cfg.Pressure.Interval = 2 * time.Millisecond
	w.broker, err = core.Open(ctx, cfg, core.Deps{
		Dir: "data", FS: w.fs, Clock: w.clock, Rand: rand.Reader, Catalog: w.cat, Log: log,
		Formats: map[core.Format]core.PropertyDecoder{core.FormatMQTT: mqtt.Properties, core.FormatAMQP: foreign},
		Lent:    mqtt.Lent,
	})
	w.must(err)
	auth := gateway.NewAuthenticator(gateway.DefaultAuthConfig(), w.cat, log)
	w.server = mqtt.New(w.broker, auth, w.cfg, log)
	w.server.SetNow(w.clock.Now)
	w.listen()
}

// user makes a user with rights in both namespaces.
func (w *world) user(name, password, write, read string) {
	w.t.Helper()
	u := metadata.User{Name: name}
	if password != "" {
		u.Hash = gateway.HashPassword(password)
	}
	w.must(w.cat.PutUser(context.Background(), u))
	for _, ns := range []string{"/", "plant"} {
		w.must(w.cat.PutPermission(context.Background(), metadata.Permission{
			User: name, Namespace: ns, Configure: ".*", Write: write, Read: read,
		}))
	}
}

func (w *world) listen() {
	w.t.Helper()
	var err error
	w.listener, err = net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.addr = w.listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.serving.Go(func() { w.server.Run(ctx) })
	w.serving.Go(func() {
		for n := 0; ; n++ {
			c, err := w.listener.Accept()
			if err != nil {
				return
			}
			conn := &gateway.Conn{Conn: c, ID: strconv.Itoa(n), Loopback: true, DrainGrace: time.Duration(w.grace.Load())}
			if shown := w.shown.Load(); shown != nil {
				conn.Certified, conn.Identity = shown.Certified, shown.Identity
			}
			w.serving.Go(func() {
				defer c.Close()
				if err := w.server.Serve(ctx, conn); err != nil {
					w.t.Logf("connection %s: %v", conn.ID, err)
				}
			})
		}
	})
}

func (w *world) stop() {
	w.cancel()
	w.listener.Close()
	w.serving.Wait()
}

func (w *world) close() {
	w.stop()
	w.must(w.broker.Close())
	w.must(w.cat.Close())
}

// crash loses what was not synced and starts again.
func (w *world) crash() {
	w.t.Helper()
	w.store.SetAway(true) // nothing gets there that the broker did after the crash
	after := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	w.close()
	w.store.SetAway(false)
	w.fs = after
	w.open()
}

// eventually waits until ok, asking again after each tick.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatalf("timeout: %s", what)
		}
	}
}

// foreign stands for the properties that another protocol's messages have.
func foreign([]byte) (core.Properties, error) {
	return core.Properties{ContentType: "t", MessageID: "m", HasExpiry: true, Expiry: 10 * time.Second}, nil
}

// queue declares a durable queue, and binds it by a key if there is one.
func (w *world) queue(words []string) {
	w.t.Helper()
	_, err := w.broker.DeclareQueue(w.t.Context(), "/", core.QueueSpec{Name: words[0], Durable: true})
	w.must(err)
	for _, key := range words[1:] {
		w.must(w.broker.Bind(w.t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: words[0], Key: key}))
	}
}
