package api_test

import (
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// How keys, counters and answers are recorded anew, see docs/testing.md: from a RabbitMQ on
// this machine whose addresses of AMQP and HTTP are given.
var (
	recordAMQP = flag.String("rabbitmq-amqp", "", "AMQP address of a RabbitMQ to record the keys of")
	recordHTTP = flag.String("rabbitmq-http", "", "HTTP address of that RabbitMQ")
)

// recordAfter is more than RabbitMQ takes to tell of what it counts.
const recordAfter = 12 * time.Second

// keyRoutes are the routes whose keys are compared, by name.
var keyRoutes = map[string]string{
	"overview": "overview", "node": "nodes", "vhost": "vhosts", "queue": "queues", "one queue": "queues/%2F/keys",
	"exchange": "exchanges/%2F", "binding": "bindings/%2F", "connection": "connections", "channel": "channels",
	"consumer": "consumers", "user": "users", "permission": "permissions", "whoami": "whoami",
	"page of queues": "queues?page=1",
}

// keySets makes what there is to describe, and returns the keys by route.
func keySets(t *testing.T, amqpURL, api, user string) map[string][]string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	conn, err := amqp091.Dial(amqpURL)
	must(err)
	defer http.DefaultClient.CloseIdleConnections()
	defer conn.Close()
	ch, err := conn.Channel()
	must(err)
	_, err = ch.QueueDeclare("keys", true, false, false, false, nil)
	must(err)
	must(ch.Confirm(false))
	confirmation, err := ch.PublishWithDeferredConfirm("", "keys", false, false, amqp091.Publishing{Body: []byte("x")})
	must(err)
	confirmation.Wait()
	deliveries, err := ch.Consume("keys", "tag", false, false, false, false, nil)
	must(err)
	must((<-deliveries).Ack(false))
	if *recordHTTP != "" {
		<-time.After(recordAfter)
	}
	sets := map[string][]string{}
	for name, route := range keyRoutes {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+api+"/api/"+route, nil)
		must(err)
		req.SetBasicAuth(user, user)
		resp, err := http.DefaultClient.Do(req)
		must(err)
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		must(err)
		sets[name] = keysOf(t, name, text)
	}
	return sets
}

// keysOf returns the keys of an object, or of the first one of a list.
func keysOf(t *testing.T, name string, text []byte) []string {
	t.Helper()
	var one map[string]any
	var list []map[string]any
	if json.Unmarshal(text, &list) == nil && len(list) > 0 {
		one = list[0]
	} else if err := json.Unmarshal(text, &one); err != nil {
		t.Fatalf("%s: %q: %v", name, text, err)
	}
	return slices.Sorted(maps.Keys(one))
}

// TestKeysOfRabbitMQ compares the members of answers with those that RabbitMQ
// gave. What is missing is listed, so that neither list can go stale.
func TestKeysOfRabbitMQ(t *testing.T) {
	file := filepath.Join("testdata", "rabbitmq_keys.json")
	if *recordHTTP != "" {
		sets := keySets(t, "amqp://guest:guest@"+*recordAMQP+"/", *recordHTTP, "guest")
		text, err := json.MarshalIndent(sets, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	var recorded, missing map[string][]string
	for name, to := range map[string]*map[string][]string{file: &recorded, filepath.Join("testdata", "missing_keys.json"): &missing} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	w := newWorld(t)
	got := keySets(t, "amqp://boss:boss@"+w.amqp+"/", w.http, "boss")
	for name := range keyRoutes {
		lacks := slices.DeleteFunc(slices.Clone(recorded[name]), func(key string) bool { return slices.Contains(got[name], key) })
		if !slices.Equal(lacks, missing[name]) {
			t.Errorf("%s: got %v; it lacks %q, of which %q are known", name, got[name], lacks, missing[name])
		}
	}
}
