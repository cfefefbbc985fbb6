package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// hashed keeps the hash of each password: hashing is slow by design.
var hashed sync.Map

func hash(password string) metadata.Secret {
	if h, ok := hashed.Load(password); ok {
		return h.(metadata.Secret)
	}
	h := gateway.HashPassword(password)
	hashed.Store(password, h)
	return h
}

// newCatalog returns a catalog with the namespace "/" and the users guest
// (administrator), boss (administrator), watch (monitoring), device and nohash.
// Passwords are the names.
func newCatalog(t *testing.T) *metadata.Catalog {
	t.Helper()
	store := memory.New()
	catalog, err := metadata.OpenCatalog(t.Context(), store, metadata.DefaultCatalogConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open catalog: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(catalog.Close(), store.Close()); err != nil {
			t.Errorf("close catalog: %v", err)
		}
	})
	if _, err := catalog.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"}); err != nil {
		t.Fatal(err)
	}
	for name, tags := range map[string][]string{
		"guest": {"administrator"}, "boss": {"administrator"}, "watch": {"monitoring"}, "device": nil,
	} {
		put(t, catalog, metadata.User{Name: name, Hash: hash(name), Tags: tags})
	}
	put(t, catalog, metadata.User{Name: "nohash"})
	put(t, catalog, metadata.User{Name: "badhash", Hash: "badhash"})
	return catalog
}

func put(t *testing.T, catalog *metadata.Catalog, u metadata.User) {
	t.Helper()
	if err := catalog.PutUser(t.Context(), u); err != nil {
		t.Fatalf("put user %s: %v", u.Name, err)
	}
}

func newAuth(catalog *metadata.Catalog) *gateway.Authenticator {
	return gateway.NewAuthenticator(gateway.DefaultAuthConfig(), catalog, slog.New(slog.DiscardHandler))
}

func TestLogin(t *testing.T) {
	auth := newAuth(newCatalog(t))
	for name, tc := range map[string]struct {
		login gateway.Login
		want  string // user, "" when refused
	}{
		"right":                {gateway.Login{User: "device", Password: "device"}, "device"},
		"right, again":         {gateway.Login{User: "device", Password: "device"}, "device"},
		"wrong":                {gateway.Login{User: "device", Password: "Device"}, ""},
		"empty password":       {gateway.Login{User: "device"}, ""},
		"unknown":              {gateway.Login{User: "nobody", Password: "nobody"}, ""},
		"empty name":           {gateway.Login{}, ""},
		"user without a hash":  {gateway.Login{User: "nohash"}, ""},
		"hash as password":     {gateway.Login{User: "badhash", Password: "badhash"}, ""},
		"guest here":           {gateway.Login{User: "guest", Password: "guest", Loopback: true}, "guest"},
		"guest from elsewhere": {gateway.Login{User: "guest", Password: "guest"}, ""},
		"anonymous here":       {gateway.Login{Anonymous: true, Loopback: true}, "guest"},
		"anonymous elsewhere":  {gateway.Login{Anonymous: true}, ""},
		"certificate":          {gateway.Login{User: "nohash", Certified: true}, "nohash"},
		"certificate of none":  {gateway.Login{User: "nobody", Certified: true}, ""},
		"certificate, no name": {gateway.Login{Certified: true}, ""},
		"certificate of guest": {gateway.Login{User: "guest", Certified: true}, ""},
	} {
		p, err := auth.Login(t.Context(), tc.login)
		switch {
		case tc.want == "" && !errors.Is(err, gateway.ErrRefused):
			t.Errorf("%s: got %v, %v; want %v", name, p, err, gateway.ErrRefused)
		case tc.want != "" && (err != nil || p.User != tc.want):
			t.Errorf("%s: got %v, %v; want user %s", name, p, err, tc.want)
		}
	}
}

func TestLoginAnonymousOff(t *testing.T) {
	catalog := newCatalog(t)
	for name, cfg := range map[string]gateway.AuthConfig{"off": {}, "no such user": {AnonymousUser: "ghost"}} {
		auth := gateway.NewAuthenticator(cfg, catalog, slog.New(slog.DiscardHandler))
		_, err := auth.Login(t.Context(), gateway.Login{Anonymous: true, Loopback: true})
		if !errors.Is(err, gateway.ErrRefused) {
			t.Errorf("%s: got %v, want %v", name, err, gateway.ErrRefused)
		}
	}
}

func TestLoginFollowsPasswordChange(t *testing.T) {
	catalog := newCatalog(t)
	auth := newAuth(catalog)
	login := gateway.Login{User: "device", Password: "device"}
	if _, err := auth.Login(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	put(t, catalog, metadata.User{Name: "device", Hash: hash("new")})
	if _, err := auth.Login(t.Context(), login); !errors.Is(err, gateway.ErrRefused) {
		t.Errorf("old password: got %v, want %v", err, gateway.ErrRefused)
	}
	login.Password = "new"
	if _, err := auth.Login(t.Context(), login); err != nil {
		t.Errorf("new password: %v", err)
	}
}

func TestLoginWaitsNoLongerThanItsContext(t *testing.T) {
	auth := newAuth(newCatalog(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Whether a slot is free or not, an ended context may win; over a few
	// tries of many logins at once it does.
	var wg sync.WaitGroup
	var mu sync.Mutex
	ended := 0
	for range 16 {
		wg.Go(func() {
			_, err := auth.Login(ctx, gateway.Login{User: "nobody", Password: "x"})
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, context.Canceled) {
				ended++
			} else if !errors.Is(err, gateway.ErrRefused) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if ended == 0 {
		t.Error("no login noticed that its context had ended")
	}
}

// TestLoginTakesAsLongForUnknownUsers checks that what a refusal costs does not
// tell whether the user exists: each hashes as much.
func TestLoginTakesAsLongForUnknownUsers(t *testing.T) {
	auth := newAuth(newCatalog(t))
	var cost int
	auth.CostForTest(func(c int) { cost += c })
	refuse := func(user string) int {
		cost = 0
		if _, err := auth.Login(t.Context(), gateway.Login{User: user, Password: "wrong"}); !errors.Is(err, gateway.ErrRefused) {
			t.Fatalf("%s: got %v", user, err)
		}
		return cost
	}
	known := refuse("device")
	if known == 0 {
		t.Error("a wrong password is not hashed")
	}
	for _, user := range []string{"nobody", "guest", "nohash", "badhash"} { // guest: not from here
		if got := refuse(user); got != known {
			t.Errorf("refusing %s hashes for %d KiB, refusing a known user for %d", user, got, known)
		}
	}
}

func TestLoginLogsNoSecret(t *testing.T) {
	var text bytes.Buffer
	auth := gateway.NewAuthenticator(gateway.DefaultAuthConfig(), newCatalog(t), slog.New(slog.NewTextHandler(&text, nil)))
	_, err := auth.Login(t.Context(), gateway.Login{User: "device\nforged=1", Password: "s3cret", Remote: "192.0.2.1:9"})
	if !errors.Is(err, gateway.ErrRefused) {
		t.Fatal(err)
	}
	got := text.String()
	if strings.Contains(got, "s3cret") || strings.Count(got, "\n") != 1 || !strings.Contains(got, "192.0.2.1:9") {
		t.Errorf("the log of a refusal is %q", got)
	}
}

func TestPermissions(t *testing.T) {
	catalog := newCatalog(t)
	p, err := newAuth(catalog).Login(t.Context(), gateway.Login{User: "device", Password: "device"})
	if err != nil {
		t.Fatal(err)
	}
	if p.CanAccess("/") || p.Can(gateway.Read, "/", "q") {
		t.Error("a user without permission may do something")
	}
	permit := func(configure, write, read string) {
		t.Helper()
		err := catalog.PutPermission(t.Context(), metadata.Permission{
			User: "device", Namespace: "/", Configure: configure, Write: write, Read: read,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	permit("", "^amq\\.topic$|line", "[")
	for _, tc := range []struct {
		op        gateway.Operation
		namespace string
		resource  string
		want      bool
	}{
		{gateway.Configure, "/", "q", false},
		{gateway.Configure, "/", "", true}, // the empty expression matches the empty name alone
		{gateway.Write, "/", "amq.topic", true},
		{gateway.Write, "/", "amq.topics", false},
		{gateway.Write, "/", "the line 4", true}, // not anchored
		{gateway.Write, "/", "Line", false},
		{gateway.Write, "/", "", false},
		{gateway.Write, "other", "amq.topic", false},
		{gateway.Read, "/", "[", false}, // no expression: allows nothing
		{gateway.Read, "/", "", false},
		{0, "/", "", false},
	} {
		if got := p.Can(tc.op, tc.namespace, tc.resource); got != tc.want {
			t.Errorf("can %d %s %q: got %v, want %v", tc.op, tc.namespace, tc.resource, got, tc.want)
		}
	}
	if !p.CanAccess("/") || p.CanAccess("other") {
		t.Error("access is to / alone")
	}
	permit(".*", "", "^q$")
	if p.Can(gateway.Write, "/", "amq.topic") || !p.Can(gateway.Read, "/", "q") || !p.Can(gateway.Configure, "/", "any\nthing") {
		t.Error("a changed permission does not hold for a user that is logged in")
	}
}

func BenchmarkCan(b *testing.B) {
	store := memory.New()
	defer store.Close()
	catalog, err := metadata.OpenCatalog(b.Context(), store, metadata.DefaultCatalogConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer catalog.Close()
	for _, err := range []error{
		catalog.PutUser(b.Context(), metadata.User{Name: "u", Hash: hash("u")}),
		catalog.PutPermission(b.Context(), metadata.Permission{User: "u", Namespace: "/", Write: `^(amq\.topic|plant\..*)$`, Read: ".*"}),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	p, err := newAuth(catalog).Login(b.Context(), gateway.Login{User: "u", Password: "u"})
	if err != nil {
		b.Fatal(err)
	}
	for name, op := range map[string]gateway.Operation{"all": gateway.Read, "pattern": gateway.Write} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.Can(op, "/", "plant.line-4.press-2") {
					b.Fatal("not allowed")
				}
			}
		})
	}
}
