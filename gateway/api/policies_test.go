package api_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestPoliciesAreApplied bounds a queue with messages in it, and looks at what
// the queue tells of its policies.
func TestPoliciesAreApplied(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "queues/%2F/jobs", "")
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	w.must(ch.Confirm(false))
	for range 10 {
		done, err := ch.PublishWithDeferredConfirm("", "jobs", false, false, amqp091.Publishing{Body: []byte("x")})
		w.must(err)
		if ok, err := done.WaitContext(t.Context()); err != nil || !ok {
			t.Fatalf("confirm: %v %v", ok, err)
		}
	}
	check := func(messages float64, policy, operator any, definition map[string]any) {
		t.Helper()
		q := w.want(200, "GET", "queues/%2F/jobs", "").object(t)
		want := map[string]any{
			"messages": messages, "policy": policy, "operator_policy": operator, "effective_policy_definition": definition,
		}
		for key := range q {
			if _, asked := want[key]; !asked {
				delete(q, key)
			}
		}
		if diff := cmp.Diff(want, q); diff != "" {
			t.Errorf("queue (-want +got):\n%s", diff)
		}
	}
	put := func(kind, name, body string) {
		t.Helper()
		w.want(201, "PUT", fmt.Sprintf("%s/%%2F/%s", kind, name), body)
	}
	check(10, nil, nil, map[string]any{})
	put("policies", "low", `{"pattern":"^jobs","definition":{"max-length":3},"apply-to":"queues"}`)
	check(3, "low", nil, map[string]any{"max-length": 3.0})
	put("policies", "high", `{"pattern":"jobs$","definition":{"max-length":9,"message-ttl":60000},"priority":1}`)
	put("operator-policies", "most", `{"pattern":"","definition":{"max-length":2,"expires":1800000},"apply-to":"classic_queues"}`)
	check(2, "high", "most", map[string]any{"max-length": 2.0, "message-ttl": 60000.0, "expires": 1800000.0})
	w.want(204, "DELETE", "policies/%2F/high", "")
	w.want(204, "DELETE", "operator-policies/%2F/most", "")
	check(2, "low", nil, map[string]any{"max-length": 3.0})

	put("policies", "stray", `{"pattern":"^events$","apply-to":"exchanges","definition":{"alternate-exchange":"amq.fanout"}}`)
	w.want(201, "PUT", "exchanges/%2F/events", `{"type":"topic"}`)
	w.want(201, "POST", "bindings/%2F/e/amq.fanout/q/jobs", "{}")
	got := w.want(200, "POST", "exchanges/%2F/events/publish",
		`{"properties":{},"routing_key":"none","payload":"x","payload_encoding":"string"}`)
	if got.text != `{"routed":true}` {
		t.Errorf("by way of the alternate exchange: got %s", got.text)
	}
	if x := w.want(200, "GET", "exchanges/%2F/events", "").object(t); x["policy"] != "stray" {
		t.Errorf("exchange: got policy %v", x["policy"])
	}
}

// TestIdleSettings keeps what policies made for RabbitMQ say of replicas, files
// and other clusters, and tells it back wherever policies are told.
func TestIdleSettings(t *testing.T) {
	w := newWorld(t)
	definition := map[string]any{
		"ha-mode": "exactly", "ha-params": 2.0, "ha-sync-mode": "automatic", "queue-mode": "lazy", "queue-version": 2.0,
		"queue-master-locator": "min-masters", "federation-upstream-set": "all", "max-length": 7.0,
	}
	text, err := json.Marshal(map[string]any{"pattern": "^kept", "definition": definition})
	w.must(err)
	w.want(201, "PUT", "policies/%2F/kept", string(text))
	w.want(201, "PUT", "queues/%2F/kept", "")
	for name, got := range map[string]any{
		"policy": w.want(200, "GET", "policies/%2F/kept", "").object(t)["definition"],
		"queue":  w.want(200, "GET", "queues/%2F/kept", "").object(t)["effective_policy_definition"],
		"export": w.want(200, "GET", "definitions", "").object(t)["policies"].([]any)[0].(map[string]any)["definition"],
	} {
		if diff := cmp.Diff(any(definition), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
