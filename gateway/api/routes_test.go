package api_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/gateway"
)

var wildcard = regexp.MustCompile(`\{[a-z]+\}`)

// TestRoutes walks the table of routes: it is the one of testdata/routes.txt,
// and each route lets in exactly who it says. The objects it asks for do not exist.
func TestRoutes(t *testing.T) {
	w := newWorld(t)
	allowed := map[gateway.Access][]string{
		gateway.Member:        {"device", "helper", "rules", "watch", "boss"},
		gateway.Management:    {"helper", "rules", "watch", "boss"},
		gateway.Policymaker:   {"rules", "boss"},
		gateway.Monitoring:    {"watch", "boss"},
		gateway.Administrator: {"boss"},
	}
	var table []string
	for _, rt := range w.api.Routes() {
		table = append(table, fmt.Sprintf("%-13s %s", rt.Access, rt.Pattern))
		method, path, ok := strings.Cut(rt.Pattern, " ")
		if !ok {
			method, path = http.MethodGet, rt.Pattern+"no/such/thing"
		}
		path = strings.TrimPrefix(wildcard.ReplaceAllString(path, "none"), "/api/")
		for _, user := range []string{"", "device", "helper", "rules", "watch", "boss"} {
			got := w.as(user, method, path, "")
			in := slices.Contains(allowed[rt.Access], user)
			refused := got.status == http.StatusUnauthorized && !strings.Contains(got.text, "User not authorised")
			switch {
			case in == refused:
				t.Errorf("%s as %q: got %d %s, allowed is %v", rt.Pattern, user, got.status, got.text, in)
			case user == "" && got.header.Get("WWW-Authenticate") == "":
				t.Errorf("%s: no challenge", rt.Pattern)
			case got.status >= 500 && !strings.Contains(rt.Pattern, "listener"):
				t.Errorf("%s as %q: got %d %s", rt.Pattern, user, got.status, got.text)
			}
		}
	}
	slices.Sort(table)
	want, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), table); d != "" {
		t.Errorf("the table of routes differs from testdata/routes.txt (-want +got):\n%s", d)
	}
}

// TestVhostsAreApart checks that a user sees and does nothing in a virtual host
// that it may not enter, whatever the route.
func TestVhostsAreApart(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "vhosts/secret", "")
	w.want(204, "PUT", "permissions/secret/boss", `{"configure":".*","write":".*","read":".*"}`)
	w.want(201, "PUT", "queues/secret/q", "")
	w.want(201, "PUT", "exchanges/secret/x", `{"type":"topic"}`)
	w.want(201, "POST", "bindings/secret/e/x/q/q", `{"routing_key":"k"}`)
	for _, path := range []string{"vhosts", "queues", "exchanges", "bindings"} {
		if got := w.as("helper", "GET", path, ""); strings.Contains(got.text, "secret") {
			t.Errorf("%s shows what is in a foreign virtual host: %s", path, got.text)
		}
		if got := w.as("watch", "GET", path, ""); !strings.Contains(got.text, "secret") {
			t.Errorf("%s hides something from monitoring: %s", path, got.text)
		}
	}
	for _, rt := range w.api.Routes() {
		method, path, _ := strings.Cut(rt.Pattern, " ")
		if !strings.Contains(path, "{vhost}") || rt.Access != gateway.Management {
			continue
		}
		path = strings.NewReplacer("{vhost}", "secret", "{source}", "x", "{dest}", "q", "{props}", "k").Replace(path)
		name := "q"
		if strings.Contains(path, "/exchanges/") {
			name = "x"
		}
		path = strings.TrimPrefix(wildcard.ReplaceAllString(path, name), "/api/")
		if got := w.as("helper", method, path, "{}"); got.status != http.StatusUnauthorized {
			t.Errorf("%s %s: got %d %s, want 401", method, path, got.status, got.text)
		}
		// Monitoring sees, but does nothing.
		if got := w.as("watch", method, path, "{}"); method != http.MethodGet && got.status != http.StatusUnauthorized {
			t.Errorf("%s %s as monitoring: got %d %s, want 401", method, path, got.status, got.text)
		}
	}
	w.want(200, "GET", "queues/secret/q", "")
}
