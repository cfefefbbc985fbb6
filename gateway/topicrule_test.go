package gateway_test

import (
	"testing"

	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

func TestTopicRule(t *testing.T) {
	catalog := newCatalog(t)
	p, err := newAuth(catalog).Login(t.Context(), gateway.Login{User: "device", Password: "device"})
	if err != nil {
		t.Fatal(err)
	}
	if rule := p.TopicRule("/", "amq.topic", "c"); rule != nil || !rule.MayWrite([]byte("any")) || !rule.MayRead(nil) {
		t.Errorf("without a topic permission: got %v, want no rule, which allows all", rule)
	}
	for _, tc := range []struct {
		pattern, client, key string
		want                 bool
	}{
		{`^a\.`, "c", "a.b", true},
		{`^a\.`, "c", "b.a.", false},
		{``, "c", "", true},
		{``, "c", "a", false},
		{`(`, "c", "a", false},
		{`^{username}\.{client_id}$`, "c1", "device.c1", true},
		{`^{client_id}$`, "a.c", "abc", false}, // the text is literal
		{`^{client_id}$`, "a.c", "a.c", true},
		{`^{client_id}$`, "", "", false},
		{`^x\.{client_id}$`, "#", "x.#", false}, // no wildcards by a name
		{`^x\.{client_id}$`, "*", "x.*", false},
		{`^x\.{client_id}$`, "+", "x.+", false},
		{`^{vhost}$`, "c", "/", true},
		{`^%u\.%c\.`, "c1", "device.c1.x", true},
		{`^%u\.%c\.`, "c1", "device.c2.x", false},
		{`^x\.%c$`, "a.c", "x.a/c", true}, // the topic x/a.c
		{`^x\.%c$`, "a.c", "x.a.c", false},
		{`^x\.%c$`, "a.c", "x.abc", false},
		{`^x\.%c$`, "a/c", "x.a/c", false}, // no level
		{`^x\.%c$`, "a/c", "x.a.c", false},
		{`^x\.%c$`, "#", "x.#", false},
		{`^x\.%c$`, "+", "x.+", false},
		{`^x\.%c$`, "+", "x.*", false},
		{`^x\.%c$`, "*", "x.*", false},
		{`^x\.%c$`, "a+", "x.a+", false},
		{`^x\.%c$`, ".*", "x.anything", false},
		{`^x\.%c$`, "a|b", "x.a|b", true},
		{`^x\.%c$`, "a|b", "x.a", false},
		{`^x\.%c$`, "", "x.", false},
		{`^%u\.{client_id}$`, "%u", "device.%u", true}, // a name is no variable
		{`^{client_id}$`, "%c", "%c", true},
	} {
		err := catalog.PutTopicPermission(t.Context(), metadata.TopicPermission{
			User: "device", Namespace: "/", Exchange: "amq.topic", Write: tc.pattern, Read: tc.pattern,
		})
		if err != nil {
			t.Fatal(err)
		}
		rule := p.TopicRule("/", "amq.topic", tc.client)
		if rule.MayWrite([]byte(tc.key)) != tc.want || rule.MayRead([]byte(tc.key)) != tc.want {
			t.Errorf("%q for client %q and key %q: want %v", tc.pattern, tc.client, tc.key, tc.want)
		}
	}
	rule := p.TopicRule("/", "amq.topic", "c")
	key := []byte("some.key")
	if allocs := testing.AllocsPerRun(100, func() { rule.MayWrite(key); p.Generation() }); allocs != 0 {
		t.Errorf("a check of a key allocates %v times", allocs)
	}
}
