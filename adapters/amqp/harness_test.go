package amqp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a server over an engine in memory, with the users guest, who may
// do everything, and reader, who may only read.
type harness struct {
	t       testing.TB
	broker  *core.Broker
	fs      *vfs.MemFS
	fail    atomic.Pointer[errorfs.InjectorFunc] // of file operations
	addr    string
	stop    context.CancelFunc
	served  sync.WaitGroup
	ctx     context.Context //nolint:containedctx // the server's life in a test
	server  *amqp.Server
	clients int
	grace   atomic.Int64 // of connections made from now on, a time.Duration
	mu      sync.Mutex
	catalog *metadata.Catalog
	shown   atomic.Pointer[gateway.Conn] // whose certificate clients show, nil for none
}

type option func(*amqp.Config, *core.Config)

var guestHash = sync.OnceValue(func() metadata.Secret { return gateway.HashPassword("guest") })

func newHarness(t testing.TB, options ...option) *harness {
	t.Helper()
	ctx := t.Context()
	log := slog.New(slog.DiscardHandler)
	store := memory.New()
	catalog, err := metadata.OpenCatalog(ctx, store, metadata.DefaultCatalogConfig(), log)
	if err != nil {
		t.Fatalf("open catalog: %v", err)
	}
	if _, err := catalog.CreateNamespace(ctx, metadata.Namespace{Name: "/"}); err != nil {
		t.Fatalf("create namespace: %v", err)
	}
	for user, p := range map[string]metadata.Permission{
		"guest":  {Configure: ".*", Write: ".*", Read: ".*"},
		"reader": {Configure: "^amq\\.gen", Write: "^amq\\.gen", Read: ".*"},
	} {
		if _, err := catalog.CreateUser(ctx, metadata.User{Name: user, Hash: guestHash()}); err != nil {
			t.Fatalf("create user: %v", err)
		}
		p.User, p.Namespace = user, "/"
		if err := catalog.PutPermission(ctx, p); err != nil {
			t.Fatalf("put permission: %v", err)
		}
	}
	coreCfg := core.DefaultConfig()
	coreCfg.Pressure.Interval = 2 * time.Millisecond
	fs := vfs.NewMem()
	cfg := amqp.DefaultConfig()
	for _, o := range options {
		o(&cfg, &coreCfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatalf("config: %v", err)
	}
	h := &harness{t: t, fs: fs, catalog: catalog}
	faulty := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail := h.fail.Load(); fail != nil {
			return (*fail)(op)
		}
		return nil
	}))
	broker, err := core.Open(ctx, coreCfg, core.Deps{
		Dir: "data", FS: faulty, Clock: clock.System, Rand: rand.Reader, Catalog: catalog, Log: log,
		DeadLetter: amqp.DeadLetter,
		Formats:    map[core.Format]core.PropertyDecoder{core.FormatAMQP: amqp.Properties, core.FormatMQTT: fakeMQTT},
	})
	if err != nil {
		t.Fatalf("open broker: %v", err)
	}
	h.broker = broker
	h.server = amqp.New(broker, gateway.NewAuthenticator(gateway.DefaultAuthConfig(), catalog, log), cfg, log)
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.listen()
	t.Cleanup(func() {
		h.stop()
		h.served.Wait()
		if err := broker.Close(); err != nil {
			t.Errorf("close broker: %v", err)
		}
		if err := catalog.Close(); err != nil {
			t.Errorf("close catalog: %v", err)
		}
		_ = store.Close()
	})
	return h
}

// fakeMQTT stands for the other adapter's decoder: the bytes are a content type.
func fakeMQTT(props []byte) (core.Properties, error) {
	return core.Properties{ContentType: string(props)}, nil
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// permit sets what a user may do.
func (h *harness) permit(user, configure, write, read string) {
	h.t.Helper()
	h.must(h.catalog.PutPermission(h.t.Context(), metadata.Permission{
		User: user, Namespace: "/", Configure: configure, Write: write, Read: read,
	}))
}

func (h *harness) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatalf("listen: %v", err)
	}
	h.addr = l.Addr().String()
	h.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.served.Go(func() { h.serve(conn) })
		}
	})
	h.served.Go(func() {
		<-h.ctx.Done()
		_ = l.Close()
	})
}

func (h *harness) serve(conn net.Conn) {
	h.mu.Lock()
	h.clients++
	id := "client-" + strconv.Itoa(h.clients)
	h.mu.Unlock()
	c := &gateway.Conn{Conn: conn, ID: id, Loopback: true, DrainGrace: time.Duration(h.grace.Load())}
	if shown := h.shown.Load(); shown != nil {
		c.Certified, c.Identity = shown.Certified, shown.Identity
	}
	_ = h.server.Serve(h.ctx, c)
	_ = conn.Close()
}

// raw is a client that speaks in frames.
type raw struct {
	t      testing.TB
	conn   net.Conn
	reader *wire.Reader
}

func (h *harness) dial() *raw {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatalf("dial: %v", err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return &raw{t: h.t, conn: conn, reader: wire.NewReader(conn, 1<<20)}
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *raw) send(channel uint16, m wire.Method) {
	r.t.Helper()
	r.write(wire.AppendMethod(nil, channel, m))
}

// read returns the next frame that is no heartbeat, and io.EOF at the end.
func (r *raw) read() (wire.Frame, error) {
	_ = r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		f, ok, err := r.reader.Next()
		switch {
		case err != nil:
			return f, err
		case ok && f.Type != wire.FrameHeartbeat:
			return f, nil
		case ok:
			continue
		}
		if err := r.reader.Fill(); err != nil {
			return f, err
		}
	}
}

// method reads the next frame, which has to be a method.
func (r *raw) method() (uint16, wire.Method) {
	r.t.Helper()
	f, err := r.read()
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	if f.Type != wire.FrameMethod {
		r.t.Fatalf("read: got frame of type %d, want a method", f.Type)
	}
	id, args, err := wire.SplitMethod(f.Payload)
	if err != nil {
		r.t.Fatalf("split: %v", err)
	}
	m, err := wire.ParseMethod(id, args)
	if err != nil {
		r.t.Fatalf("parse: %v", err)
	}
	return f.Channel, m
}

// expect reads the next method, which has to be of the type.
func expect[M wire.Method](r *raw) M {
	r.t.Helper()
	_, m := r.method()
	got, ok := m.(M)
	if !ok {
		r.t.Fatalf("read: got %v %+v, want %T", m.ID(), m, got)
	}
	return got
}

// expectEOF reads the end of the connection.
func (r *raw) expectEOF() {
	r.t.Helper()
	if f, err := r.read(); err == nil {
		r.t.Fatalf("read: got frame %+v, want the end", f)
	} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		r.t.Fatalf("read: timeout, want the end")
	}
}

func startOK(user, password string, caps ...string) *wire.ConnectionStartOK {
	fields := make([]wire.Field, 0, len(caps))
	for _, c := range caps {
		fields = append(fields, wire.Field{Name: c, Value: true})
	}
	return &wire.ConnectionStartOK{
		ClientProperties: wire.EncodeTable([]wire.Field{{Name: "capabilities", Value: fields}}),
		Mechanism:        "PLAIN",
		Response:         []byte("\x00" + user + "\x00" + password),
		Locale:           "en_US",
	}
}

// login goes through the handshake and opens channel 1.
func (r *raw) login(user string) {
	r.t.Helper()
	r.write([]byte(wire.Protocol))
	expect[*wire.ConnectionStart](r)
	r.send(0, startOK(user, "guest", "authentication_failure_close", "consumer_cancel_notify"))
	tune := expect[*wire.ConnectionTune](r)
	r.send(0, &wire.ConnectionTuneOK{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax})
	r.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
	expect[*wire.ConnectionOpenOK](r)
	r.openChannel(1)
}

func (r *raw) openChannel(id uint16) {
	r.t.Helper()
	r.send(id, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOK](r)
}
