package metadata_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a catalog on the store for the length of the test.
func open(t *testing.T, store metadata.Store, prepare ...func(*metadata.CatalogConfig)) *metadata.Catalog {
	t.Helper()
	c, err := tryOpen(t, store, prepare...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryOpen(t *testing.T, store metadata.Store, prepare ...func(*metadata.CatalogConfig)) (*metadata.Catalog, error) {
	t.Helper()
	cfg := metadata.DefaultCatalogConfig()
	cfg.Cluster = "test"
	cfg.SaveDelay = time.Millisecond
	for _, p := range prepare {
		p(&cfg)
	}
	c, err := metadata.OpenCatalog(t.Context(), store, cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	return c, err
}

// ledger is a listener that keeps what it is told as lines and as a state.
type ledger struct {
	mu    sync.Mutex
	lines []string
}

func listen(c *metadata.Catalog) *ledger {
	l := &ledger{}
	c.Listen(func(changes []metadata.Change) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, ch := range changes {
			l.lines = append(l.lines, line(ch))
		}
	})
	return l
}

// take returns the lines since the last call.
func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

func line(c metadata.Change) string {
	verb := "put "
	if c.Deleted {
		verb = "delete "
	}
	if c.Lost {
		verb = "lost "
	}
	switch {
	case c.Namespace != nil:
		return verb + "namespace " + c.Namespace.Name
	case c.Exchange != nil:
		return verb + "exchange " + c.Exchange.Namespace + ":" + c.Exchange.Name
	case c.Queue != nil:
		return verb + "queue " + c.Queue.Namespace + ":" + c.Queue.Name
	default:
		return fmt.Sprintf("%sbinding %s:%s>%s %s", verb, c.Binding.Namespace, c.Binding.Source, c.Binding.Dest, c.Binding.Key)
	}
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s: got differs from want (-want +got):\n%s", what, d)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// declare makes what its words say, in namespace "n": "namespace", "exchange e",
// "queue q", "bind e q key", "bindx e e2 key".
func declare(t *testing.T, c *metadata.Catalog, commands ...string) {
	t.Helper()
	for _, command := range commands {
		f := append(strings.Fields(command), "", "", "")
		created, err := false, error(nil)
		switch f[0] {
		case "namespace":
			created, err = c.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"})
		case "exchange":
			_, created, err = c.CreateExchange(t.Context(), metadata.Exchange{Namespace: "n", Name: f[1], Type: "topic"})
		case "queue":
			_, created, err = c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: f[1], Stream: 7})
		case "bind", "bindx":
			created, err = c.CreateBinding(t.Context(), binding(f[1], f[2], f[3], f[0] == "bindx"))
		default:
			t.Fatalf("unknown command %q", command)
		}
		if err != nil || !created {
			t.Fatalf("%s: got created=%v, %v, want true, nil", command, created, err)
		}
	}
}

func binding(source, dest, key string, toExchange bool) metadata.Binding {
	return metadata.Binding{Namespace: "n", Source: source, Dest: dest, Key: key, ToExchange: toExchange}
}

// TestWritesAreSeen checks that each write is in the view and was told to the
// listener when it returns.
func TestWritesAreSeen(t *testing.T) {
	c := open(t, memory.New())
	l := listen(c)
	steps := []struct {
		command string
		want    []string
	}{
		{"namespace", []string{"put namespace n"}},
		{"exchange e", []string{"put exchange n:e"}},
		{"queue q", []string{"put queue n:q"}},
		{"bind e q k.1", []string{"put binding n:e>q k.1"}},
		{"bind amq.topic q #", []string{"put binding n:amq.topic>q #"}},
		{"exchange e2", []string{"put exchange n:e2"}},
		{"bindx e e2 k", []string{"put binding n:e>e2 k"}},
		{"bindx e amq.fanout k", []string{"put binding n:e>amq.fanout k"}},
	}
	for _, s := range steps {
		declare(t, c, s.command)
		wantLines(t, s.command, l.take(), s.want...)
	}
	if got := len(c.Bindings("n")); got != 4 {
		t.Errorf("bindings: got %d, want 4", got)
	}
	if deleted, err := c.DeleteQueue(t.Context(), "n", "q"); err != nil || !deleted {
		t.Errorf("delete queue: got %v, %v, want true, nil", deleted, err)
	}
	wantLines(t, "delete queue", l.take(),
		"delete binding n:amq.topic>q #", "delete binding n:e>q k.1", "delete queue n:q")
	if deleted, err := c.DeleteExchange(t.Context(), "n", "e"); err != nil || !deleted {
		t.Errorf("delete exchange: got %v, %v, want true, nil", deleted, err)
	}
	wantLines(t, "delete exchange", l.take(),
		"delete binding n:e>amq.fanout k", "delete binding n:e>e2 k", "delete exchange n:e")
	if deleted, err := c.DeleteBinding(t.Context(), binding("e", "e2", "k", true)); err != nil || deleted {
		t.Errorf("delete a binding that is gone: got %v, %v, want false, nil", deleted, err)
	}
	wantLines(t, "listener that comes late", listen(c).take(), "put namespace n", "put exchange n:e2")
}

func TestCreateTwice(t *testing.T) {
	c := open(t, memory.New())
	declare(t, c, "namespace", "exchange e", "queue q", "bind e q k")
	q, created, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q", Stream: 99})
	if err != nil || created || q.Stream != 7 {
		t.Errorf("create queue again: got %+v, %v, %v, want the one of stream 7", q, created, err)
	}
	e, created, err := c.CreateExchange(t.Context(), metadata.Exchange{Namespace: "n", Name: "e", Type: "fanout"})
	if err != nil || created || e.Type != "topic" {
		t.Errorf("create exchange again: got %+v, %v, %v, want the one of type topic", e, created, err)
	}
	if created, err := c.CreateBinding(t.Context(), binding("e", "q", "k", false)); err != nil || created {
		t.Errorf("bind again: got %v, %v, want false, nil", created, err)
	}
	if created, err := c.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"}); err != nil || created {
		t.Errorf("create namespace again: got %v, %v, want false, nil", created, err)
	}
	with := binding("e", "q", "k", false)
	with.Args = map[string]any{"x-match": "all"}
	if created, err := c.CreateBinding(t.Context(), with); err != nil || !created {
		t.Errorf("bind with other arguments: got %v, %v, want true, nil", created, err)
	}
}

func TestMissing(t *testing.T) {
	c := open(t, memory.New())
	_, _, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q"})
	wantError(t, "queue in a missing namespace", err, metadata.ErrNotFound)
	_, _, err = c.CreateExchange(t.Context(), metadata.Exchange{Namespace: "n", Name: "amq.topic"})
	wantError(t, "predeclared exchange in a missing namespace", err, metadata.ErrNotFound)
	declare(t, c, "namespace", "exchange e", "queue q")
	for _, b := range []metadata.Binding{
		binding("none", "q", "k", false), binding("e", "none", "k", false), binding("e", "q", "k", true),
		binding("e", "e", "k", false),
	} {
		_, err := c.CreateBinding(t.Context(), b)
		wantError(t, fmt.Sprintf("%+v", b), err, metadata.ErrNotFound)
	}
	if deleted, err := c.DeleteQueue(t.Context(), "n", "none"); err != nil || deleted {
		t.Errorf("delete a missing queue: got %v, %v, want false, nil", deleted, err)
	}
	if deleted, err := c.DeleteExchange(t.Context(), "n", "none"); err != nil || deleted {
		t.Errorf("delete a missing exchange: got %v, %v, want false, nil", deleted, err)
	}
}

func TestPredeclared(t *testing.T) {
	c := open(t, memory.New())
	if _, ok := c.Exchange("n", "amq.topic"); ok {
		t.Error("amq.topic of a missing namespace: got one, want none")
	}
	declare(t, c, "namespace")
	for name, kind := range map[string]string{
		"": "direct", "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic",
		"amq.headers": "headers", "amq.match": "headers", "amq.rabbitmq.trace": "topic",
	} {
		if e, ok := c.Exchange("n", name); !ok || e.Type != kind {
			t.Errorf("exchange %q: got %+v, %v, want type %s", name, e, ok, kind)
		}
	}
	now, created, err := c.CreateExchange(t.Context(), metadata.Exchange{Namespace: "n", Name: "amq.match", Type: "topic"})
	if err != nil || created || now.Type != "headers" {
		t.Errorf("create amq.match: got %+v, %v, %v, want the predeclared one", now, created, err)
	}
	_, err = c.DeleteExchange(t.Context(), "n", "amq.topic")
	wantError(t, "delete amq.topic", err, metadata.ErrInvalid)
	if got := c.Exchanges("n"); len(got) != 0 {
		t.Errorf("exchanges: got %v, want none", got)
	}
}

// TestWideExchange deletes an exchange with more destinations than a
// transaction takes ops.
func TestWideExchange(t *testing.T) {
	c := open(t, memory.New())
	declare(t, c, "namespace", "exchange e")
	for i := range 300 {
		declare(t, c, fmt.Sprintf("queue q%d", i), fmt.Sprintf("bind e q%d a", i), fmt.Sprintf("bind e q%d b", i))
	}
	if deleted, err := c.DeleteExchange(t.Context(), "n", "e"); err != nil || !deleted {
		t.Errorf("delete: got %v, %v, want true, nil", deleted, err)
	}
	if got := len(c.Bindings("n")); got != 0 {
		t.Errorf("bindings: got %d, want 0", got)
	}
}

func TestUsersAndPermissions(t *testing.T) {
	store := memory.New()
	c := open(t, store)
	u := metadata.User{Name: "gu/est", Hash: "$argon2id$v=19$…", Tags: []string{"administrator"}}
	if created, err := c.CreateUser(t.Context(), u); err != nil || !created {
		t.Fatalf("create user: got %v, %v, want true, nil", created, err)
	}
	if created, err := c.CreateUser(t.Context(), metadata.User{Name: u.Name}); err != nil || created {
		t.Errorf("create user again: got %v, %v, want false, nil", created, err)
	}
	if _, err := c.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"}); err != nil {
		t.Fatal(err)
	}
	p := metadata.Permission{User: u.Name, Namespace: "/", Configure: ".*", Write: "^a%/", Read: ""}
	if err := c.PutPermission(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	other := open(t, store)
	got, ok := other.User(u.Name)
	if d := cmp.Diff(u, got); d != "" || !ok {
		t.Errorf("user: got %v, differs (-want +got):\n%s", ok, d)
	}
	if got, ok := other.Permission(u.Name, "/"); !ok || got != p {
		t.Errorf("permission: got %+v, %v, want %+v", got, ok, p)
	}
	u.Hash = "changed"
	if err := c.PutUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.User(u.Name); string(got.Hash) != "changed" {
		t.Error("hash after PutUser: got the old one, want the new one")
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	c := open(t, memory.New())
	declare(t, c, "namespace", "exchange e", "queue q")
	if err := c.PutUser(t.Context(), metadata.User{Name: "u"}); err != nil {
		t.Fatal(err)
	}
	if err := c.PutPermission(t.Context(), metadata.Permission{User: "u", Namespace: "n"}); err != nil {
		t.Fatal(err)
	}
	found := true
	allocs := testing.AllocsPerRun(100, func() {
		for _, lookup := range []bool{
			second(c.Namespace("n")), second(c.Exchange("n", "e")), second(c.Exchange("n", "amq.topic")),
			second(c.Queue("n", "q")), second(c.Permission("u", "n")),
		} {
			found = found && lookup
		}
	})
	if allocs != 0 || !found {
		t.Errorf("lookups: got %v allocations, found=%v, want 0, true", allocs, found)
	}
}

func second[T any](_ T, ok bool) bool { return ok }

func TestSecretIsHidden(t *testing.T) {
	u := metadata.User{Name: "me", Hash: "topsecret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, u); strings.Contains(text, "topsecret") || strings.Contains(text, "746f70") {
			t.Errorf("%s: got %q, want *** in place of the secret", verb, text)
		}
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("user", slog.Any("hash", u.Hash), slog.Any("user", u))
	for _, text := range []string{
		fmt.Sprint(u), u.Hash.String(), log.String(),
		fmt.Sprintf("%s %q %x %#v %v %d", u.Hash, u.Hash, u.Hash, u.Hash, u.Hash, u.Hash),
	} {
		if strings.Contains(text, "topsecret") || strings.Contains(text, "746f70") || !strings.Contains(text, "***") {
			t.Errorf("printed: got %q, want *** in place of the secret", text)
		}
	}
}
