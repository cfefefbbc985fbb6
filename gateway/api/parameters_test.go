package api_test

import (
	"strings"
	"testing"
)

// TestParameters walks through parameters with RabbitMQ's statuses and words.
func TestParameters(t *testing.T) {
	w := newWorld(t)
	const upstream = "parameters/federation-upstream/%2F/up"
	for _, s := range []struct {
		status             int
		method, path, body string
		contains           string
	}{
		{200, "GET", "parameters", "", "[]"},
		{400, "PUT", "parameters/shovel/%2F/s", `{"value":{}}`, `Validation failed\n\ncomponent shovel not found\n`},
		{400, "PUT", "parameters/policy/%2F/s", `{"value":{}}`, "policies may not be set using this method"},
		{404, "PUT", "parameters/shovel/nowhere/s", `{"value":{}}`, "Object Not Found"},
		{201, "PUT", upstream, `{"value":{"uri": "amqp://a"}}`, ""},
		{204, "PUT", upstream, `{"value":{"uri": "amqp://b"}}`, ""},
		{400, "PUT", upstream, `{"value":{"url":"amqp://b"}}`, `Key \"uri\" not found in up`},
		{400, "PUT", upstream, `{}`, "[{key_missing,value}]"},
		{400, "PUT", "parameters/federation-upstream-set/%2F/all", `{"value":{}}`, "all should be list"},
		{201, "PUT", "parameters/federation-upstream-set/%2F/all", `{"value":[{"upstream":"up"}]}`, ""},
		{
			200, "GET", "parameters/federation-upstream", "",
			`[{"component":"federation-upstream","name":"up","value":{"uri":"amqp://b"},"vhost":"/"}]`,
		},
		{200, "GET", "parameters/federation-upstream/%2F", "", `"up"`},
		{200, "GET", upstream, "", `{"uri":"amqp://b"}`},
		{404, "GET", upstream + "2", "", "Object Not Found"},
		{404, "GET", "parameters/federation-upstream/nowhere", "", "Object Not Found"},
		{200, "GET", "parameters/nonsense", "", "[]"},
		{204, "DELETE", upstream, "", ""},
		{404, "DELETE", upstream, "", "Object Not Found"},

		{201, "PUT", "parameters/vhost-limits/%2F/limits", `{"value":{"max-queues":7}}`, ""},
		{400, "PUT", "parameters/vhost-limits/%2F/others", `{"value":{"max-queues":7}}`, "limits of a virtual host"},
		{200, "GET", "vhost-limits/%2F", "", `"max-queues":7`},
		{204, "DELETE", "parameters/vhost-limits/%2F/limits", "", ""},
		{200, "GET", "vhost-limits/%2F", "", "[]"},
		{201, "PUT", "parameters/operator_policy/%2F/o", `{"value":{"pattern":"","priority":1,"definition":{"max-length":7}}}`, ""},
		{400, "PUT", "parameters/operator_policy/%2F/o", `{"value":3}`, "value is no policy"},
		{200, "GET", "operator-policies/%2F/o", "", `"max-length":7`},
		{204, "DELETE", "parameters/operator_policy/%2F/o", "", ""},
		{404, "GET", "operator-policies/%2F/o", "", ""},

		{200, "GET", "global-parameters", "", `[{"name":"cluster_name","value":"default"}]`},
		{201, "PUT", "global-parameters/mine", `{"value":{"a": [1, true]}}`, ""},
		{204, "PUT", "global-parameters/mine", `{"value":{"a":[2,true]}}`, ""},
		{400, "PUT", "global-parameters/mine", `{}`, "[{key_missing,value}]"},
		{200, "GET", "global-parameters/mine", "", `{"name":"mine","value":{"a":[2,true]}}`},
		{404, "GET", "global-parameters/others", "", "Object Not Found"},
		{204, "DELETE", "global-parameters/mine", "", ""},
		{404, "DELETE", "global-parameters/mine", "", "Object Not Found"},
		{400, "PUT", "cluster-name", `{}`, "[{key_missing,name}]"},
		{204, "PUT", "cluster-name", `{"name":"plant"}`, ""},
		{200, "GET", "cluster-name", "", `{"name":"plant"}`},
		{200, "GET", "overview", "", `"cluster_name":"plant"`},
		{200, "GET", "global-parameters/cluster_name", "", `"plant"`},
	} {
		if got := w.want(s.status, s.method, s.path, s.body); !strings.Contains(got.text, s.contains) {
			t.Errorf("%s %s %s: got %s, want %s in it", s.method, s.path, s.body, got.text, s.contains)
		}
	}
	// Policymakers may not go round what only administrators may do.
	for _, path := range []string{"parameters/operator_policy/%2F/o", "parameters/vhost-limits/%2F/limits"} {
		if got := w.as("rules", "PUT", path, `{"value":{"pattern":"","definition":{"max-length":7}}}`); got.status != 401 {
			t.Errorf("%s of a policymaker: got %d %s", path, got.status, got.text)
		}
	}
	if got := w.as("rules", "PUT", upstream, `{"value":{"uri":"amqp://a"}}`); got.status != 201 {
		t.Errorf("upstream of a policymaker: got %d %s", got.status, got.text)
	}
}
