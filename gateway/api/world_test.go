package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/gateway/api"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roles are the users of a world by name, which is also their password.
var roles = map[string][]string{
	"boss": {gateway.TagAdministrator}, "watch": {gateway.TagMonitoring}, "rules": {gateway.TagPolicymaker},
	"helper": {gateway.TagManagement}, "device": nil,
}

// hashes are those of the roles: hashing is slow by design.
var hashes = sync.OnceValue(func() map[string]metadata.Secret {
	all := map[string]metadata.Secret{}
	for name := range roles {
		all[name] = gateway.HashPassword(name)
	}
	return all
})

// world is a broker with its API and AMQP, on memory.
type world struct {
	t       *testing.T
	catalog *metadata.Catalog
	api     *api.API
	http    string
	amqp    string
	fs      *vfs.MemFS // nil on the disk of another
	// certificateEnds is what the API is told.
	certificateEnds time.Time
}

func newWorld(t *testing.T, settings ...func(*gateway.Config)) *world {
	t.Helper()
	return newWorldOn(t, vfs.NewMem(), settings...)
}

// newWorldOn is newWorld on a disk with the data of another broker.
func newWorldOn(t *testing.T, fs vfs.FS, settings ...func(*gateway.Config)) *world {
	t.Helper()
	w := &world{t: t}
	w.fs, _ = fs.(*vfs.MemFS)
	log := slog.New(slog.DiscardHandler)
	store := memory.New()
	var err error
	w.catalog, err = metadata.OpenCatalog(t.Context(), store, metadata.DefaultCatalogConfig(), log)
	w.must(err)
	_, err = w.catalog.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"})
	w.must(err)
	for name, tags := range roles {
		w.must(w.catalog.PutUser(t.Context(), metadata.User{Name: name, Hash: hashes()[name], Tags: tags}))
		w.must(w.catalog.PutPermission(t.Context(), metadata.Permission{
			User: name, Namespace: "/", Configure: ".*", Write: ".*", Read: ".*",
		}))
	}
	broker, err := core.Open(t.Context(), core.DefaultConfig(), core.Deps{
		Dir: "data", FS: fs, Clock: clock.System, Rand: rand.Reader, Catalog: w.catalog, Log: log,
		Memory:     core.Memory{Limit: 1 << 30, InUse: func() uint64 { return 100 << 20 }},
		DeadLetter: amqp.DeadLetter,
		Formats:    map[core.Format]core.PropertyDecoder{core.FormatAMQP: amqp.Properties},
	})
	w.must(err)
	auth := gateway.NewAuthenticator(gateway.DefaultAuthConfig(), w.catalog, log)
	clients := gateway.NewClients(w.catalog)
	w.api = api.New(api.Deps{
		Broker: broker, Catalog: w.catalog, Clients: clients, Log: log,
		Dialect: api.Dialect{
			CheckQueue: amqp.CheckQueue, CheckExchange: amqp.CheckExchange, Refusal: amqp.Refusal,
			Copies: amqp.Copies, AppendProperties: amqp.AppendProperties, Format: core.FormatAMQP,
		},
		Listeners: func() []api.Listener {
			return []api.Listener{{Protocol: "amqp", Host: "127.0.0.1", Port: 5672}, {Protocol: "http", Host: "127.0.0.1", Port: 15672}}
		},
		CertificateEnds: func() time.Time { return w.certificateEnds },
		Node:            "node", Cluster: "default", Product: "Tidegate", Version: "test",
	})
	local := []string{"127.0.0.1:0"}
	cfg := gateway.DefaultConfig()
	for _, set := range settings {
		set(&cfg)
	}
	server, err := gateway.New(cfg, []gateway.Endpoint{
		{Name: "http", Kind: gateway.HTTP, Addresses: local},
		{Name: "amqp", Kind: gateway.Stream, Addresses: local, Protocol: amqp.New(broker, auth, amqp.DefaultConfig(), log)},
	}, gateway.Deps{
		Auth: auth, Clients: clients, Node: "node", Routes: w.api.Routes(), Stats: broker.Stats, Healthy: broker.Err, Log: log,
	})
	w.must(err)
	w.must(server.Listen(t.Context()))
	w.http, w.amqp = server.Addresses("http")[0].String(), server.Addresses("amqp")[0].String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := errors.Join(<-ended, broker.Close(), w.catalog.Close(), store.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	text   string
}

// as sends a request of a user; body is JSON text, or "".
func (w *world) as(user, method, path, body string) reply {
	w.t.Helper()
	return w.send(user, method, path, "application/json", strings.NewReader(body))
}

func (w *world) send(user, method, path, contentType string, body io.Reader) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.http+"/api/"+path, body)
	w.must(err)
	req.Header.Set("Content-Type", contentType)
	if user != "" {
		req.SetBasicAuth(user, user)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// want sends a request of the administrator and checks its status.
func (w *world) want(status int, method, path, body string) reply {
	w.t.Helper()
	got := w.as("boss", method, path, body)
	if got.status != status {
		w.t.Errorf("%s %s %s: got %d %s, want %d", method, path, body, got.status, got.text, status)
	}
	return got
}

// object reads an answer that is one object.
func (r reply) object(t *testing.T) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(r.text), &o); err != nil {
		t.Fatalf("%q: %v", r.text, err)
	}
	return o
}

// list reads an answer that is a list of objects.
func (r reply) list(t *testing.T) []map[string]any {
	t.Helper()
	var l []map[string]any
	if err := json.Unmarshal([]byte(r.text), &l); err != nil {
		t.Fatalf("%q: %v", r.text, err)
	}
	return l
}

// reason is the reason of a refusal.
func (r reply) reason() string {
	var o struct {
		Reason string `json:"reason"`
	}
	_ = json.NewDecoder(bytes.NewReader([]byte(r.text))).Decode(&o)
	return o.Reason
}
