package metadata_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// populated is a catalog with one of everything in namespace n, and user u.
func populated(t *testing.T, store metadata.Store) *metadata.Catalog {
	t.Helper()
	c := open(t, store)
	created, err := c.Bootstrap(t.Context(), metadata.Namespace{Name: "n"}, metadata.User{Name: "u"},
		metadata.Permission{Configure: "a", Write: "b", Read: "c"})
	if err != nil || !created {
		t.Fatalf("bootstrap: got %v, %v, want true, nil", created, err)
	}
	must(t, c.PutTopicPermission(t.Context(), metadata.TopicPermission{
		User: "u", Namespace: "n", Exchange: "amq.topic", Write: "^w", Read: "^r",
	}))
	for _, operator := range []bool{false, true} {
		must(t, c.PutPolicy(t.Context(), metadata.Policy{
			Namespace: "n", Name: "p", Operator: operator, Pattern: "^q", ApplyTo: metadata.ApplyQueues, Priority: 1,
			Definition: map[string]any{"message-ttl": int64(5)},
		}))
	}
	must(t, c.PutParameter(t.Context(), metadata.Parameter{Namespace: "n", Component: "c", Name: "p", Value: []byte(`{"a":[1,"<"]}`)}))
	must(t, c.PutGlobalParameter(t.Context(), metadata.GlobalParameter{Name: "g", Value: []byte(`"text"`)}))
	declare(t, c, "exchange e", "queue q")
	return c
}

func TestAccessIsReadBack(t *testing.T) {
	store := memory.New()
	c := populated(t, store)
	other := open(t, store)
	for what, pair := range map[string][2]any{
		"users":             {c.Users(), other.Users()},
		"permissions":       {c.Permissions(), other.Permissions()},
		"topic permissions": {c.TopicPermissions(), other.TopicPermissions()},
		"policies":          {c.Policies(false), other.Policies(false)},
		"operator policies": {c.Policies(true), other.Policies(true)},
		"parameters":        {c.Parameters(), other.Parameters()},
		"global parameters": {c.GlobalParameters(), other.GlobalParameters()},
	} {
		if d := cmp.Diff(pair[0], pair[1]); d != "" {
			t.Errorf("%s differ:\n%s", what, d)
		}
	}
	if p, ok := other.Policy("n", "p", true); !ok || !p.Operator || p.Definition["message-ttl"] != int64(5) {
		t.Errorf("operator policy: got %+v, %v", p, ok)
	}
	if p := other.Parameters(); len(p) != 1 || p[0].Namespace != "n" || p[0].Component != "c" || p[0].Name != "p" {
		t.Errorf("parameters: got %+v", p)
	}
	if p := other.GlobalParameters(); len(p) != 1 || p[0].Name != "g" || string(p[0].Value) != `"text"` {
		t.Errorf("global parameters: got %+v", p)
	}
	if p, ok := other.TopicPermission("u", "n", "amq.topic"); !ok || p.Write != "^w" {
		t.Errorf("topic permission: got %+v, %v", p, ok)
	}
}

func TestPermissionNeedsItsEnds(t *testing.T) {
	c := populated(t, memory.New())
	for _, p := range []metadata.Permission{{User: "nobody", Namespace: "n"}, {User: "u", Namespace: "nowhere"}} {
		if err := c.PutPermission(t.Context(), p); !errors.Is(err, metadata.ErrNotFound) {
			t.Errorf("%+v: got %v, want ErrNotFound", p, err)
		}
	}
	err := c.PutPolicy(t.Context(), metadata.Policy{Namespace: "nowhere", Definition: map[string]any{"a": true}})
	if !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("policy: got %v, want ErrNotFound", err)
	}
	err = c.PutParameter(t.Context(), metadata.Parameter{Namespace: "nowhere", Value: []byte("1")})
	if !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("parameter: got %v, want ErrNotFound", err)
	}
}

func TestDeleteUserTakesItsPermissions(t *testing.T) {
	c := populated(t, memory.New())
	before := c.AccessGeneration()
	if deleted, err := c.DeleteUser(t.Context(), "u"); err != nil || !deleted {
		t.Fatalf("delete: got %v, %v, want true, nil", deleted, err)
	}
	if n := len(c.Permissions()) + len(c.TopicPermissions()) + len(c.Users()); n != 0 {
		t.Errorf("%d objects of the user are left", n)
	}
	if c.AccessGeneration() == before {
		t.Error("the generation did not change")
	}
	if deleted, err := c.DeleteUser(t.Context(), "u"); err != nil || deleted {
		t.Errorf("delete again: got %v, %v, want false, nil", deleted, err)
	}
}

func TestDeleteNamespaceTakesAllInIt(t *testing.T) {
	store := memory.New()
	c := populated(t, store)
	if deleted, err := c.DeleteNamespace(t.Context(), "n"); err != nil || !deleted {
		t.Fatalf("delete: got %v, %v, want true, nil", deleted, err)
	}
	other := open(t, store)
	left := len(other.Permissions()) + len(other.TopicPermissions()) + len(other.Policies(false)) +
		len(other.Policies(true)) + len(other.Parameters()) + len(other.Queues("n")) + len(other.Exchanges("n")) + len(other.Namespaces())
	if left != 0 {
		t.Errorf("%d objects of the namespace are left", left)
	}
	if len(other.Users()) != 1 {
		t.Errorf("users: got %d, want 1", len(other.Users()))
	}
}

func TestEffectivePolicy(t *testing.T) {
	all := []metadata.Policy{
		{Name: "low", Pattern: ".*", Priority: 0},
		{Name: "b", Pattern: "^app", ApplyTo: metadata.ApplyQueues, Priority: 5},
		{Name: "a", Pattern: "^app", ApplyTo: metadata.ApplyQueues, Priority: 5},
		{Name: "quorum", Pattern: "orders", ApplyTo: metadata.ApplyQuorum, Priority: 9},
		{Name: "stream", Pattern: "orders", ApplyTo: metadata.ApplyStreams, Priority: 8},
		{Name: "classic", Pattern: "orders", ApplyTo: metadata.ApplyClassic, Priority: 7},
		{Name: "exchange", Pattern: "^app", ApplyTo: metadata.ApplyExchanges, Priority: 9},
		{Name: "broken", Pattern: "[", Priority: 99},
	}
	for _, tc := range []struct {
		target metadata.PolicyTarget
		want   string
	}{
		{metadata.PolicyTarget{Name: "other"}, "low"},
		{metadata.PolicyTarget{Name: "app1"}, "a"},
		{metadata.PolicyTarget{Name: "my-app"}, "low"},
		{metadata.PolicyTarget{Name: "app1", Exchange: true}, "exchange"},
		{metadata.PolicyTarget{Name: "x", Exchange: true}, "low"},
		{metadata.PolicyTarget{Name: "app.orders", QueueType: "quorum"}, "quorum"},
		{metadata.PolicyTarget{Name: "app.orders", QueueType: "stream"}, "stream"},
		{metadata.PolicyTarget{Name: "app.orders"}, "classic"},
		{metadata.PolicyTarget{Name: "app.orders", QueueType: "classic"}, "classic"},
	} {
		got, _ := metadata.NewPolicySet(all).Match(tc.target)
		if got == nil || got.Name != tc.want {
			t.Errorf("%+v: got policy %v, want %q", tc.target, got, tc.want)
		}
	}
	if p, _ := metadata.NewPolicySet(all[1:]).Match(metadata.PolicyTarget{Name: "x"}); p != nil {
		t.Errorf("no match: got %+v", p)
	}
	operator := metadata.NewPolicySet([]metadata.Policy{{Name: "o", Operator: true, Pattern: ""}})
	if _, p := operator.Match(metadata.PolicyTarget{Name: "e", Exchange: true}); p != nil {
		t.Error("an operator policy applies to an exchange")
	}
	if own, p := operator.Match(metadata.PolicyTarget{Name: "q"}); own != nil || p == nil {
		t.Errorf("an operator policy for a queue: got %v and %v", own, p)
	}
}

func TestEffectiveDefinition(t *testing.T) {
	got := metadata.NewPolicySet([]metadata.Policy{
		{Name: "a", Definition: map[string]any{
			"message-ttl": int64(10), "max-length": int64(100), "overflow": "reject-publish", "expires": 2.5,
		}},
		{Name: "b", Operator: true, Definition: map[string]any{
			"message-ttl": int64(20), "max-length": int64(50), "overflow": "drop-head", "delivery-limit": int64(3),
		}},
	}).Definition(metadata.PolicyTarget{Name: "q"})
	want := map[string]any{
		"message-ttl": int64(10), "max-length": int64(50), "overflow": "drop-head", "expires": 2.5, "delivery-limit": int64(3),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("definition differs (-want +got):\n%s", d)
	}
}

func TestPolicyIsChecked(t *testing.T) {
	some := map[string]any{"max-length": int64(1)}
	for _, p := range []metadata.Policy{
		{Pattern: "[", Definition: some},
		{Pattern: "a", ApplyTo: "everything", Definition: some},
		{Pattern: "a"},
		{Pattern: "a", ApplyTo: metadata.ApplyExchanges, Operator: true, Definition: some},
	} {
		if err := p.Validate(); !errors.Is(err, metadata.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", p, err)
		}
	}
}
