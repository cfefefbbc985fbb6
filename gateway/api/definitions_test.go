package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

func fixture(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/rabbitmq_definitions.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestImportOfRabbitMQ imports a file as RabbitMQ exports it: its users log in
// with their passwords, and get a hash of Tidegate's by that.
func TestImportOfRabbitMQ(t *testing.T) {
	w := newWorld(t)
	w.want(204, "POST", "definitions", fixture(t))
	w.want(204, "POST", "definitions", fixture(t)) // again: nothing is in the way of itself

	app, _ := w.catalog.User("app")
	if !strings.HasPrefix(string(app.Hash), "$rabbitmq$rabbit_password_hashing_sha256$") {
		t.Errorf("hash of app: got %.40s…", string(app.Hash))
	}
	if _, err := amqp091.Dial("amqp://app:wrong@" + w.amqp + "/orders"); err == nil {
		t.Error("a wrong password let app in")
	}
	conn, err := amqp091.Dial("amqp://app:app-secret@" + w.amqp + "/orders")
	w.must(err)
	defer conn.Close()
	if app, _ = w.catalog.User("app"); !strings.HasPrefix(string(app.Hash), "$argon2id$") {
		t.Errorf("hash of app after its login: got %.40s…", string(app.Hash))
	}
	for user, want := range map[string]bool{"metrics:metrics-secret": true, "legacy:legacy-secret": true, "cert-only:": false} {
		conn, err := amqp091.Dial("amqp://" + user + "@" + w.amqp + "/" + map[bool]string{true: "orders"}[strings.HasPrefix(user, "metrics")])
		if (err == nil) != want {
			t.Errorf("login as %s: got %v", user, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if got := w.want(200, "GET", "queues/orders/orders.new", "").object(t); got["type"] != "quorum" {
		t.Errorf("queue: got %v", got)
	}
	if got := w.want(200, "GET", "bindings/orders/e/orders.events/q/orders.new", "").list(t); len(got) != 1 {
		t.Errorf("bindings: got %v", got)
	}
	if got := w.want(200, "GET", "vhost-limits/orders", "").text; !strings.Contains(got, `"max-queues":500`) {
		t.Errorf("limits: got %s", got)
	}
}

// TestRoundTrip checks that what is exported is what an empty broker becomes by
// importing it.
func TestRoundTrip(t *testing.T) {
	one := newWorld(t)
	one.want(204, "POST", "definitions", fixture(t))
	exported := one.want(200, "GET", "definitions", "").text
	other := newWorld(t)
	other.want(204, "POST", "definitions", exported)
	again := other.want(200, "GET", "definitions", "").text
	var a, b any
	one.must(json.Unmarshal([]byte(exported), &a))
	one.must(json.Unmarshal([]byte(again), &b))
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("definitions differ (-first +second):\n%s", d)
	}
}

func TestImportIntoOneVhost(t *testing.T) {
	one := newWorld(t)
	one.want(204, "POST", "definitions", fixture(t))
	exported := one.want(200, "GET", "definitions/orders", "").text
	if strings.Contains(exported, "password_hash") || strings.Contains(exported, `"vhost"`) {
		t.Errorf("definitions of one virtual host tell of others: %s", exported)
	}
	one.want(201, "PUT", "vhosts/copy", "")
	one.want(204, "POST", "definitions/copy", exported)
	for _, path := range []string{"queues/", "exchanges/", "bindings/"} {
		count := func(vhost string) int { return len(one.want(200, "GET", path+vhost, "").list(t)) }
		if got, want := count("copy"), count("orders"); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

// TestImportRefuses checks that a file that asks for what is not there is
// refused by name and changes nothing.
func TestImportRefuses(t *testing.T) {
	w := newWorld(t)
	before := w.want(200, "GET", "definitions", "").text
	for name, tc := range map[string]struct{ body, reason string }{
		"policy": {
			`{"policies":[{"name":"ttl","vhost":"/","pattern":".*","definition":{"love":"all"}}]}`,
			"policy 'ttl': Validation failed\n\n[{<<\"love\">>,<<\"all\">>}] are not recognised policy settings\n",
		},
		"operator policy": {
			`{"parameters":[{"component":"operator_policy","name":"o","vhost":"/","value":{"pattern":"","definition":{"max-age":"1D"}}}]}`,
			"operator_policy 'o': Validation failed\n\n[{<<\"max-age\">>,<<\"1D\">>}] are not recognised policy settings\n",
		},
		"shovel": {
			`{"parameters":[{"component":"shovel","name":"s","vhost":"/","value":{}}]}`,
			"shovel 's': Validation failed\n\ncomponent shovel not found\n",
		},
		"hash":       {`{"users":[{"name":"u","password_hash":"AAAA","tags":""}]}`, "user 'u'"},
		"md5":        {`{"users":[{"name":"u","password_hash":"AAAA","hashing_algorithm":"rabbit_password_hashing_md5"}]}`, "user 'u'"},
		"type":       {`{"exchanges":[{"name":"x","vhost":"/","type":"x-nothing"}]}`, "unknown exchange type 'x-nothing'"},
		"argument":   {`{"queues":[{"name":"q","vhost":"/","arguments":{"x-queue-type":"zz"}}]}`, "unsupported queue type 'zz'"},
		"pattern":    {`{"permissions":[{"user":"boss","vhost":"/","configure":"(","write":"","read":""}]}`, "configure is no regular expression"},
		"no json":    {`{"users":`, "body is not as expected"},
		"limit":      {`{"parameters":[{"component":"vhost-limits","name":"limits","vhost":"/","value":{"max-love":1}}]}`, "limit 'max-love'"},
		"queue type": {`{"vhosts":[{"name":"v","default_queue_type":"swift"}]}`, "default queue type 'swift'"},
	} {
		// Something that would work comes first.
		body := strings.Replace(tc.body, "{", `{"vhosts":[{"name":"early"}],`, 1)
		if name == "queue type" || name == "no json" {
			body = tc.body
		}
		got := w.want(400, "POST", "definitions", body)
		if !strings.Contains(got.reason(), tc.reason) {
			t.Errorf("%s: got reason %q, want %q in it", name, got.reason(), tc.reason)
		}
	}
	if after := w.want(200, "GET", "definitions", "").text; after != before {
		t.Errorf("refused imports changed something:\n%s\n%s", before, after)
	}
}

// TestRealDefinitions imports what RabbitMQ 3.10.8 with federation exported, and
// finds all of it in what is exported then.
func TestRealDefinitions(t *testing.T) {
	t.Cleanup(regexp2.StopTimeoutClock) // for patterns that look around
	text, err := os.ReadFile("testdata/rabbitmq_3.10.8_definitions.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.want(204, "POST", "definitions", string(text))
	var want map[string]any
	w.must(json.Unmarshal(text, &want))
	got := w.want(200, "GET", "definitions", "").object(t)
	count := 0
	for section, list := range want {
		objects, isList := list.([]any)
		if !isList {
			continue // versions
		}
		back, _ := got[section].([]any)
		for _, o := range objects {
			count++
			if !slices.ContainsFunc(back, func(b any) bool { return within(o, b) }) {
				t.Errorf("%s: nothing exported has all of %v", section, o)
			}
		}
	}
	if count < 39 {
		t.Errorf("the file has %d objects only", count)
	}
	for path, want := range map[string]string{"dead": "limits", "machine.saw": "mirrored", "log": "limits"} {
		if q := w.want(200, "GET", "queues/plant/"+path, "").object(t); q["policy"] != want {
			t.Errorf("%s: got policy %v, want %s", path, q["policy"], want)
		}
	}
}

// within tells whether all that one object says is in another one.
func within(part, whole any) bool {
	p, isObject := part.(map[string]any)
	if !isObject {
		return cmp.Equal(part, whole)
	}
	o, _ := whole.(map[string]any)
	for name, value := range p {
		if there, ok := o[name]; !ok || !within(value, there) {
			return false
		}
	}
	return o != nil
}

// TestUploadDefinitions imports a file that comes in a form.
func TestUploadDefinitions(t *testing.T) {
	w := newWorld(t)
	upload := func(path, field, text string) reply {
		t.Helper()
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		w.must(form.WriteField("redirect", "/"))
		part, err := form.CreateFormFile(field, "definitions.json")
		w.must(err)
		_, err = io.WriteString(part, text)
		w.must(err)
		w.must(form.Close())
		return w.send("boss", "POST", path, form.FormDataContentType(), &body)
	}
	for _, tc := range []struct {
		path, field, text string
		status            int
	}{
		{"definitions", "file", `{"vhosts":[{"name":"new"}]}`, 204},
		{"definitions/new", "file", `{"queues":[{"name":"q","durable":true}]}`, 204},
		{"definitions", "other", `{}`, 400},
		{"definitions", "file", `{`, 400},
	} {
		if got := upload(tc.path, tc.field, tc.text); got.status != tc.status {
			t.Errorf("%s %s %s: got %d %s, want %d", tc.path, tc.field, tc.text, got.status, got.text, tc.status)
		}
	}
	w.want(200, "GET", "queues/new/q", "")
	if got := w.send("boss", "POST", "definitions", "multipart/form-data; boundary=x", strings.NewReader("--x")); got.status != 400 {
		t.Errorf("a form that is cut off: got %d %s", got.status, got.text)
	}
}
