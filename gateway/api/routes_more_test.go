package api_test

import (
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestImportThatIsRefused checks that a file changes nothing when one of its parts does
// not fit what is there, or what the file makes itself.
func TestImportThatIsRefused(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "queues/%2F/there", `{"arguments":{"x-max-length":5}}`)
	w.want(201, "PUT", "exchanges/%2F/there", `{"type":"topic"}`)
	w.want(204, "PUT", "vhost-limits/%2F/max-queues", `{"value":3}`)
	before := w.want(200, "GET", "definitions", "").text
	good := `"users":[{"name":"new","password_hash":"","tags":""}],"vhosts":[{"name":"v"}],` +
		`"policies":[{"vhost":"v","name":"p","pattern":".*","definition":{"max-length":3}}]`
	queue := func(vhost, name, args string) string {
		return `{"name":"` + name + `","vhost":"` + vhost + `","durable":true,"auto_delete":false,"arguments":{` + args + `}}`
	}
	binding := func(source, kind, dest string) string {
		return `"bindings":[{"vhost":"v","source":"` + source + `","destination":"` + dest + `","destination_type":"` + kind +
			`","routing_key":"k","arguments":{}}]`
	}
	for name, test := range map[string]struct{ file, reason string }{
		"binding from nowhere":    {binding("none", "queue", "q") + `,"queues":[` + queue("v", "q", "") + `]`, "no exchange 'none'"},
		"binding to nowhere":      {binding("amq.topic", "queue", "none"), "no queue 'none'"},
		"binding of two":          {binding("amq.topic", "exchange", "none"), "no exchange 'none'"},
		"binding from default":    {binding("", "queue", "q") + `,"queues":[` + queue("w", "q", "") + `]`, "vhost 'w' does not exist"},
		"queue as it is not":      {`"queues":[` + queue("/", "there", `"x-max-length":6`) + `]`, "inequivalent arg 'x-max-length'"},
		"queue twice":             {`"queues":[` + queue("v", "q", "") + `,` + queue("v", "q", `"x-expires":9`) + `]`, "inequivalent arg 'x-expires'"},
		"too many queues":         {`"queues":[` + queue("/", "a", "") + `,` + queue("/", "b", "") + `,` + queue("/", "c", "") + `]`, "queue limit"},
		"too many by the file":    {`"parameters":[{"component":"vhost-limits","vhost":"v","name":"limits","value":{"max-queues":0}}],"queues":[` + queue("v", "q", "") + `]`, "queue limit"},
		"exchange as it is not":   {`"exchanges":[{"name":"there","vhost":"/","type":"fanout","durable":true}]`, "inequivalent arg 'type'"},
		"exchange twice":          {`"exchanges":[{"name":"x","vhost":"v","type":"fanout"},{"name":"x","vhost":"v","type":"topic"}]`, "inequivalent arg 'type'"},
		"reserved exchange":       {`"exchanges":[{"name":"amq.mine","vhost":"v","type":"fanout"}]`, "reserved prefix"},
		"permission of nobody":    {`"permissions":[{"user":"none","vhost":"v","configure":"","write":"","read":""}]`, "user 'none' does not exist"},
		"permission nowhere":      {`"permissions":[{"user":"new","vhost":"w","configure":"","write":"","read":""}]`, "vhost 'w' does not exist"},
		"topic permission":        {`"topic_permissions":[{"user":"new","vhost":"w","exchange":"amq.topic","write":"","read":""}]`, "vhost 'w' does not exist"},
		"limits nowhere":          {`"parameters":[{"component":"vhost-limits","vhost":"w","name":"limits","value":{}}]`, "vhost 'w' does not exist"},
		"upstream nowhere":        {`"parameters":[{"component":"federation-upstream","vhost":"w","name":"u","value":{"uri":"amqp://"}}]`, "vhost 'w' does not exist"},
		"binding with a bad hash": {`"exchanges":[{"name":"h","vhost":"v","type":"x-consistent-hash"}],"queues":[` + queue("v", "q", "") + `],` + binding("h", "queue", "q"), "must be an integer"},
	} {
		body := `{` + good + `,` + test.file + `}`
		got := w.as("boss", "POST", "definitions", body)
		if got.status < 400 || got.status >= 500 || !strings.Contains(got.reason(), test.reason) {
			t.Errorf("%s: got %d %s, want a refusal with %q", name, got.status, got.text, test.reason)
		}
		if after := w.want(200, "GET", "definitions", "").text; after != before {
			t.Fatalf("%s: the definitions changed:\n%s\nbefore:\n%s", name, after, before)
		}
	}
	w.want(204, "POST", "definitions", `{`+good+`,"queues":[`+queue("v", "q", "")+`,`+queue("/", "a", "")+`,`+queue("/", "there", `"x-max-length":5`)+
		`],"exchanges":[{"name":"x","vhost":"v","type":"fanout"}],`+binding("x", "queue", "q")+`}`)
	w.want(200, "GET", "bindings/v/e/x/q/q/k", "")
}

func TestHashOfPassword(t *testing.T) {
	w := newWorld(t)
	hash, _ := w.want(200, "GET", "auth/hash_password/se%20cret", "").object(t)["ok"].(string)
	w.want(201, "PUT", "users/hashed", `{"password_hash":"`+hash+`","tags":""}`)
	w.want(201, "PUT", "permissions/%2F/hashed", `{"configure":"","write":"","read":""}`)
	conn, err := amqp091.Dial("amqp://hashed:se%20cret@" + w.amqp + "/")
	if err != nil {
		t.Fatalf("login with hash %q: %v", hash, err)
	}
	conn.Close()
}

func TestCertificateExpiration(t *testing.T) {
	w := newWorld(t)
	w.want(200, "GET", "health/checks/certificate-expiration/100/years", "") // there is none
	w.certificateEnds = time.Now().AddDate(0, 0, 20)
	for path, status := range map[string]int{
		"19/days": 200, "21/days": 503, "2/weeks": 200, "3/weeks": 503, "1/months": 503, "1/month": 503, "1/years": 503,
		"0/years": 200, "1/moons": 400, "x/days": 400, "-1/days": 400, "1000000/years": 400,
	} {
		w.want(status, "GET", "health/checks/certificate-expiration/"+path, "")
	}
}

func TestListenersByName(t *testing.T) {
	w := newWorld(t)
	for name, status := range map[string]int{
		"amqp": 200, "AMQP": 200, "amqp091": 200, "amqp0.9.1": 200, "http": 200, "amqp/ssl": 503, "amqps": 503,
		"mqtt": 503, "mqtt/ssl": 503, "http/web-mqtt": 503, "clustering": 503,
	} {
		w.want(status, "GET", "health/checks/protocol-listener/"+name, "")
	}
	w.want(200, "GET", "health/checks/port-listener/15672", "")
	if got := w.want(503, "GET", "health/checks/port-listener/1", "").text; !strings.Contains(got, `"ports":[5672,15672]`) {
		t.Errorf("got %s", got)
	}
}

func TestOneNode(t *testing.T) {
	w := newWorld(t)
	w.want(204, "POST", "rebalance/queues", "")
	w.want(204, "POST", "vhosts/%2F/start/node", "")
	w.want(404, "POST", "vhosts/%2F/start/other", "")
	w.want(404, "GET", "nodes/other/memory", "")
	w.want(404, "GET", "nodes/node/memory/absolute", "")
	for _, path := range []string{"memory", "memory/relative"} {
		memory, _ := w.want(200, "GET", "nodes/node/"+path, "").object(t)["memory"].(map[string]any)
		if heap, _ := memory["heap"].(float64); heap <= 0 {
			t.Errorf("%s: got %v", path, memory)
		}
	}
	w.want(405, "DELETE", "overview", "")
	w.want(405, "POST", "whoami", "")
	w.want(404, "POST", "nothing", "")
}

// TestSortByCounters sorts by a member inside of another, and by a rate.
func TestSortByCounters(t *testing.T) {
	w := newWorld(t)
	for name, n := range map[string]int{"few": 1, "many": 12, "some": 3} {
		w.want(201, "PUT", "queues/%2F/"+name, "{}")
		for range n {
			w.want(200, "POST", "exchanges/%2F/amq.default/publish",
				`{"properties":{},"routing_key":"`+name+`","payload":"","payload_encoding":"string"}`)
		}
	}
	for _, column := range []string{"message_stats.publish", "message_stats.publish_details.rate", "messages"} {
		var names []string
		for _, q := range w.want(200, "GET", "queues?sort="+column+"&sort_reverse=true&columns=name,"+column, "").list(t) {
			name, _ := q["name"].(string)
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != "many some few" {
			t.Errorf("by %s: got %s", column, got)
		}
	}
}
