package api_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestObjects walks through what is declared, looked at and deleted, with the
// statuses and words that programs for RabbitMQ expect.
func TestObjects(t *testing.T) {
	w := newWorld(t)
	for _, s := range []struct {
		status             int
		method, path, body string
		contains           string
	}{
		{201, "PUT", "queues/%2F/q", `{"durable":true,"arguments":{}}`, ""},
		{204, "PUT", "queues/%2F/q", `{"durable":true,"arguments":[]}`, ""},
		{204, "PUT", "queues/%2F/q", `{"durable":"true","auto_delete":"false","arguments":{}}`, ""},
		{400, "PUT", "queues/%2F/q", `{"durable":"false"}`, "received 'false' but current is 'true'"},
		{400, "PUT", "queues/%2F/q", `{"durable":"yes"}`, "bool"},
		{400, "PUT", "queues/%2F/q", `{"durable":false}`, "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'"},
		{400, "PUT", "queues/%2F/bad", `{"arguments":{"x-queue-type":"zz"}}`, "unsupported queue type 'zz'"},
		{400, "PUT", "queues/%2F/bad", `{"exclusive":true}`, "exclusive"},
		{401, "PUT", "queues/%2F/amq.mine", `{}`, "contains reserved prefix 'amq.*'"},
		{404, "PUT", "queues/none/q", `{}`, "Not Found"},
		{404, "GET", "queues/%2F/none", "", "Not Found"},
		{404, "DELETE", "queues/%2F/none", "", "Not Found"},
		{201, "PUT", "exchanges/%2F/x", `{"type":"topic"}`, ""},
		{204, "PUT", "exchanges/%2F/x", `{"type":"topic","durable":"true","auto_delete":"false","internal":"false"}`, ""},
		{400, "PUT", "exchanges/%2F/x", `{"type":"fanout"}`, "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'"},
		{400, "PUT", "exchanges/%2F/y", `{"type":"nope"}`, "unknown exchange type 'nope'"},
		{201, "PUT", "exchanges/%2F/hash", `{"type":"x-consistent-hash","arguments":{"hash-header":"id"}}`, ""},
		{200, "GET", "exchanges/%2F/hash", "", `"arguments":{"hash-header":"id"}`},
		{400, "PUT", "exchanges/%2F/y", `{"type":"x-consistent-hash","arguments":{"hash-property":"app_id"}}`, "Unsupported property: app_id"},
		{400, "PUT", "exchanges/%2F/y", `{"type":"topic","arguments":{"alternate-exchange":5}}`, "invalid type 'signedint' for arg 'alternate-exchange'"},
		{400, "POST", "bindings/%2F/e/hash/q/q", `{"routing_key":"heavy"}`, "The binding key must be an integer: "},
		{400, "POST", "bindings/%2F/e/amq.headers/q/q", `{"routing_key":"","arguments":{"x-match":"some"}}`, "Invalid x-match field value"},
		{201, "POST", "bindings/%2F/e/hash/q/q", `{"routing_key":"2"}`, ""},
		{204, "DELETE", "exchanges/%2F/hash", "", ""},
		{200, "GET", "overview", "", `"name":"x-local-random"`},
		{401, "PUT", "exchanges/%2F/amq.mine", `{"type":"topic"}`, "contains reserved prefix 'amq.*'"},
		{204, "PUT", "exchanges/%2F/amq.topic", `{"type":"topic"}`, ""},
		{401, "DELETE", "exchanges/%2F/amq.topic", "", "deletion of system exchange"},
		{200, "GET", "exchanges/%2F/amq.default", "", `"type":"direct"`},
		{201, "POST", "bindings/%2F/e/x/q/q", `{"routing_key":"a.~/b","arguments":{"n":1}}`, ""},
		{404, "POST", "bindings/%2F/e/x/q/none", `{"routing_key":""}`, "no queue 'none' in vhost '/'"},
		{404, "POST", "bindings/%2F/e/none/q/q", `{"routing_key":""}`, "no exchange 'none' in vhost '/'"},
		{401, "POST", "bindings/%2F/e/amq.default/q/q", `{"routing_key":""}`, "operation not permitted on the default exchange"},
		{200, "GET", "queues/%2F/q/bindings", "", `"source":"x"`},
		{200, "GET", "exchanges/%2F/x/bindings/source", "", `"destination":"q"`},
		{200, "GET", "exchanges/%2F/amq.default/bindings/source", "", `"destination":"q"`},
		{400, "DELETE", "exchanges/%2F/x?if-unused=true", "", "exchange 'x' in vhost '/' in use"},
		{200, "POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"one","payload_encoding":"string"}`, `{"routed":true}`},
		{400, "DELETE", "queues/%2F/q?if-empty=true", "", "queue 'q' in vhost '/' not empty"},
		{204, "DELETE", "queues/%2F/q/contents", "", ""},
		{204, "DELETE", "queues/%2F/q?if-empty=true&if-unused=true", "", ""},
		{204, "DELETE", "exchanges/%2F/x?if-unused=true", "", ""},
		{200, "GET", "aliveness-test/%2F", "", `"ok"`},
		{200, "GET", "health/checks/protocol-listener/amqp091", "", `"ok"`},
		{503, "GET", "health/checks/port-listener/1", "", "No active listener"},
		{400, "GET", "queues?page=2", "", "out of range"},
		{400, "GET", "queues?name=%28&use_regex=true", "", "no regular expression"},
		{400, "PUT", "queues/%2F/q", `{`, "body is not as expected"},
		{400, "PUT", "policies/%2F/p", `{"pattern":".*","definition":{"love":1}}`, "are not recognised policy settings"},
		{400, "PUT", "policies/%2F/p", `{"pattern":".*","definition":{"max-length":-1}}`, "-1 is not a valid maximum length"},
		{400, "PUT", "policies/%2F/p", `{"pattern":"(","definition":{"max-length":1}}`, "no regular expression"},
		{400, "PUT", "users/new", `{"password":"x"}`, "[{key_missing,tags}]"},
		{201, "PUT", "users/new", `{"password":"x","tags":"management, monitoring"}`, ""},
		{204, "PUT", "users/new", `{"tags":["policymaker"]}`, ""},
		{400, "PUT", "permissions/none/new", `{"configure":"","write":"","read":""}`, "vhost_or_user_not_found"},
		{400, "PUT", "permissions/%2F/new", `{"configure":"","write":""}`, "[{key_missing,read}]"},
		{200, "GET", "users/without-permissions", "", `"name":"new"`},
		{204, "POST", "users/bulk-delete", `{"users":["new","none"]}`, ""},
		{400, "PUT", "vhosts/v", `{"default_queue_type":"swift"}`, "Unsupported default queue type 'swift'"},
		{201, "PUT", "vhosts/v", `{"description":"d","tags":"a,b","durability":"os"}`, ""},
		{200, "GET", "vhosts/v", "", `"tags":["a","b"]`},
	} {
		if got := w.want(s.status, s.method, s.path, s.body); !strings.Contains(got.text, s.contains) {
			t.Errorf("%s %s: got %s, want %q in it", s.method, s.path, got.text, s.contains)
		}
	}
}

// TestBindingByProperties deletes bindings by the name that the list gives them.
func TestBindingByProperties(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "queues/%2F/q", "")
	base := "bindings/%2F/e/amq.topic/q/q"
	for _, body := range []string{
		`{}`, `{"routing_key":"a.b"}`, `{"routing_key":"a/b~c d"}`, `{"routing_key":"ü"}`,
		`{"routing_key":"a.b","arguments":{"n":1}}`, `{"routing_key":"","arguments":{"n":[1,{"x":"y"}]}}`,
	} {
		w.want(201, "POST", base, body)
		list := w.want(200, "GET", base, "").list(t)
		if len(list) != 1 {
			t.Fatalf("%s: got %v", body, list)
		}
		key, _ := list[0]["properties_key"].(string)
		w.want(200, "GET", base+"/"+url.PathEscape(key), "")
		w.want(404, "DELETE", base+"/other", "")
		w.want(204, "DELETE", base+"/"+url.PathEscape(key), "")
	}
}

// TestMessages publishes and gets by the API, and in between over AMQP.
func TestMessages(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "queues/%2F/q", "")
	publish := func(status int, body string) reply {
		t.Helper()
		return w.want(status, "POST", "exchanges/%2F/amq.default/publish", body)
	}
	publish(200, `{"properties":{"delivery_mode":2,"content_type":"text/plain","priority":3,"message_id":"m1",
		"headers":{"a":1,"b":"x","c":{"d":[true,null]}}},"routing_key":"q","payload":"hello","payload_encoding":"string"}`)
	publish(200, `{"properties":{},"routing_key":"q","payload":"/wA=","payload_encoding":"base64"}`)
	if got := publish(200, `{"properties":{},"routing_key":"none","payload":"","payload_encoding":"string"}`); got.text != `{"routed":false}` {
		t.Errorf("unroutable: got %s", got.text)
	}
	publish(400, `{"properties":{"user_id":"device"},"routing_key":"q","payload":"","payload_encoding":"string"}`)
	publish(400, `{"properties":{"headers":{"x-delay":5}},"routing_key":"q","payload":"","payload_encoding":"string"}`)
	publish(200, `{"properties":{"nope":1},"routing_key":"none","payload":"","payload_encoding":"string"}`)
	publish(400, `{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"rot13"}`)
	w.want(400, "POST", "exchanges/%2F/none/publish", `{"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}`)

	get := func(mode string) []map[string]any {
		t.Helper()
		return w.want(200, "POST", "queues/%2F/q/get", `{"count":5,"ackmode":"`+mode+`","encoding":"auto","truncate":3}`).list(t)
	}
	first := get("ack_requeue_true")
	if len(first) != 2 || first[0]["payload"] != "hel" || first[0]["payload_bytes"] != 5.0 || first[1]["payload_encoding"] != "base64" {
		t.Fatalf("get: got %v", first)
	}
	properties, _ := first[0]["properties"].(map[string]any)
	headers, _ := properties["headers"].(map[string]any)
	if properties["delivery_mode"] != 2.0 || properties["message_id"] != "m1" || headers["a"] != 1.0 {
		t.Errorf("properties: got %v", properties)
	}
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	d, ok, err := ch.Get("q", true)
	w.must(err)
	if !ok || string(d.Body) != "hello" || d.Priority != 3 || !d.Redelivered || d.Headers["b"] != "x" {
		t.Errorf("over AMQP: got %+v", d)
	}
	w.must(ch.PublishWithContext(t.Context(), "", "q", false, false, amqp091.Publishing{Headers: amqp091.Table{"at": int64(5)}}))
	if _, err := ch.QueueDeclarePassive("q", true, false, false, false, nil); err != nil { // answered behind the publish
		t.Fatal(err)
	}
	if left := get("ack_requeue_false"); len(left) != 2 || left[0]["redelivered"] != true {
		t.Errorf("the rest: got %v", left)
	}
	if left := get("ack_requeue_false"); len(left) != 0 {
		t.Errorf("after all was taken: got %v", left)
	}
	w.want(400, "POST", "queues/%2F/q/get", `{"count":-1,"ackmode":"ack_requeue_true","encoding":"auto"}`)
	w.want(400, "POST", "queues/%2F/q/get", `{"count":1,"encoding":"auto"}`)
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"c", "a", "b", "other"} {
		w.want(201, "PUT", "queues/%2F/"+name, "")
	}
	got := w.want(200, "GET", "queues?page=1&page_size=2&name=%5E.%24&use_regex=true&sort=name&sort_reverse=true&columns=name,type", "").object(t)
	items, _ := got["items"].([]any)
	if len(items) != 2 || got["filtered_count"] != 3.0 || got["total_count"] != 4.0 || got["page_count"] != 2.0 {
		t.Fatalf("page: got %v", got)
	}
	one, _ := items[0].(map[string]any)
	if one["name"] != "c" || len(one) != 2 {
		t.Errorf("first item: got %v", one)
	}
}

// TestPermissionsHold checks that requests are bound to the permissions of who sends them.
// TestCopies publishes to more keys than one. What receivers see does not tell
// of those in BCC.
func TestCopies(t *testing.T) {
	w := newWorld(t)
	body := func(key, headers string) string {
		return `{"properties":{"headers":` + headers + `},"routing_key":"` + key + `","payload":"x","payload_encoding":"string"}`
	}
	for _, q := range []string{"to", "open", "hidden"} {
		w.want(201, "PUT", "queues/%2F/"+q, "")
	}
	publish := func(status int, key, headers string) reply {
		t.Helper()
		return w.want(status, "POST", "exchanges/%2F/amq.default/publish", body(key, headers))
	}
	publish(200, "to", `{"CC":["open","to",5,"none"],"BCC":["hidden","open"],"n":1}`)
	for _, q := range []string{"to", "open", "hidden"} {
		got := w.want(200, "POST", "queues/%2F/"+q+"/get", `{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}`).list(t)
		if len(got) != 1 {
			t.Fatalf("queue %s has %d messages, want 1", q, len(got))
		}
		want := map[string]any{
			"delivery_mode": 1.0, "headers": map[string]any{"CC": []any{"open", "to", 5.0, "none"}, "n": 1.0},
		}
		if diff := cmp.Diff(want, got[0]["properties"]); diff != "" || got[0]["routing_key"] != "to" {
			t.Errorf("in queue %s by key %v (-want +got):\n%s", q, got[0]["routing_key"], diff)
		}
	}
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	if d, ok, err := ch.Get("hidden", true); err != nil || !ok || d.Headers["BCC"] != nil || d.Headers["CC"] == nil {
		t.Errorf("over AMQP: got %v %v %v", d.Headers, ok, err)
	}
	if got := publish(200, "none", `{"BCC":["hidden"]}`); got.text != `{"routed":true}` {
		t.Errorf("by BCC alone: got %s", got.text)
	}
	for value, typ := range map[string]string{`"open"`: "longstr", "5": "long", "1.5": "double", "true": "bool", "null": "void", "{}": "table"} {
		got := publish(400, "to", `{"BCC":`+value+`}`)
		if want := `invalid message: {unacceptable_type_in_header,"BCC",` + typ + `}`; got.reason() != want {
			t.Errorf("BCC of %s: got %q, want %q", value, got.reason(), want)
		}
	}

	w.want(201, "PUT", "topic-permissions/%2F/helper", `{"exchange":"amq.topic","write":"^eu","read":"^eu"}`)
	for headers, status := range map[string]int{
		`{}`: 200, `{"CC":["eu.2"]}`: 200, `{"CC":["us.1"]}`: 401, `{"BCC":["eu.2","us.1"]}`: 401,
	} {
		if got := w.as("helper", "POST", "exchanges/%2F/amq.topic/publish", body("eu.1", headers)); got.status != status {
			t.Errorf("with %s: got %d %s, want %d", headers, got.status, got.text, status)
		}
	}
}

func TestPermissionsHold(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "queues/%2F/q", "")
	w.want(204, "PUT", "permissions/%2F/helper", `{"configure":"^mine","write":"^mine","read":"^mine"}`)
	for _, s := range []struct {
		status             int
		method, path, body string
	}{
		{201, "PUT", "queues/%2F/mine", ""},
		{401, "PUT", "queues/%2F/other", ""},
		{401, "PUT", "queues/%2F/mine2", `{"arguments":{"x-dead-letter-exchange":"x"}}`},
		{401, "DELETE", "queues/%2F/q", ""},
		{401, "DELETE", "queues/%2F/q/contents", ""},
		{401, "POST", "queues/%2F/q/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`},
		{401, "POST", "bindings/%2F/e/amq.topic/q/mine", `{}`},
		{401, "POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}`},
		{401, "PUT", "exchanges/%2F/x", `{"type":"fanout"}`},
		{401, "PUT", "exchanges/%2F/mine", `{"type":"fanout","arguments":{"alternate-exchange":"x"}}`},
		{201, "PUT", "exchanges/%2F/mine", `{"type":"topic"}`},
		{201, "POST", "bindings/%2F/e/mine/q/mine", `{"routing_key":"k"}`},
		{401, "GET", "aliveness-test/%2F", ""},
	} {
		if got := w.as("helper", s.method, s.path, s.body); got.status != s.status {
			t.Errorf("%s %s: got %d %s, want %d", s.method, s.path, got.status, got.text, s.status)
		}
	}
	w.want(201, "PUT", "topic-permissions/%2F/helper", `{"exchange":"mine","write":"^eu","read":"^eu"}`)
	for key, status := range map[string]int{"eu.1": 200, "us.1": 401} {
		got := w.as("helper", "POST", "exchanges/%2F/mine/publish", `{"properties":{},"routing_key":"`+key+`","payload":"","payload_encoding":"string"}`)
		if got.status != status {
			t.Errorf("publish %s: got %d %s, want %d", key, got.status, got.text, status)
		}
	}
	if got := w.as("helper", "POST", "bindings/%2F/e/mine/q/mine", `{"routing_key":"us.#"}`); got.status != 401 {
		t.Errorf("bind: got %d %s, want 401", got.status, got.text)
	}
	w.want(200, "GET", "topic-permissions/%2F/helper", "")
	w.want(204, "DELETE", "topic-permissions/%2F/helper/mine", "")
	w.want(404, "DELETE", "topic-permissions/%2F/helper", "")
}

// TestAliases asks for what is told under another name too.
func TestAliases(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "queues/%2F/q", "")
	if got := w.want(200, "GET", "queues/detailed", "").list(t); len(got) != 1 || got[0]["name"] != "q" {
		t.Errorf("queues in detail: got %v", got)
	}
	if got := w.want(200, "GET", "version", "").text; got != `"4.0.0"` {
		t.Errorf("version: got %s", got)
	}
}

// TestDefaultQueueType declares queues without a type, over AMQP and over HTTP, in
// a virtual host that has one for them.
func TestDefaultQueueType(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "vhosts/new", `{"default_queue_type":"quorum"}`)
	if v := w.want(200, "GET", "vhosts/new", "").object(t); v["default_queue_type"] != "quorum" {
		t.Errorf("virtual host: got %v", v)
	}
	conn, err := w.dial("boss", "new", "")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	declare := func(name string, durable, autoDelete bool, args amqp091.Table) {
		t.Helper()
		_, err := ch.QueueDeclare(name, durable, autoDelete, false, false, args)
		w.must(err)
	}
	declare("plain", true, false, nil)
	declare("plain", true, false, nil) // it is that of before
	declare("plain", true, false, amqp091.Table{"x-queue-type": "quorum"})
	declare("passing", false, false, nil)
	declare("leaving", true, true, nil)
	declare("asked", true, false, amqp091.Table{"x-queue-type": "classic"})
	w.want(201, "PUT", "queues/new/http", "")
	w.want(204, "PUT", "vhosts/new", `{"default_queue_type":"stream"}`)
	declare("log", true, false, nil)

	want := map[string]string{
		"plain": "quorum", "passing": "classic", "leaving": "classic", "asked": "classic", "http": "quorum", "log": "stream",
	}
	check := func(vhost string) {
		t.Helper()
		for name, kind := range want {
			if q := w.want(200, "GET", "queues/"+vhost+"/"+name, "").object(t); q["type"] != kind {
				t.Errorf("%s: got a %v queue, want %s", name, q["type"], kind)
			}
		}
	}
	check("new")
	delete(want, "passing") // is in no file
	exported := w.want(200, "GET", "definitions", "").text
	w.want(204, "DELETE", "vhosts/new", "")
	w.want(204, "POST", "definitions", exported)
	check("new") // classic ones stay so
	if v := w.want(200, "GET", "vhosts/new", "").object(t); v["default_queue_type"] != "stream" {
		t.Errorf("imported virtual host: got %v", v)
	}
}
