package api_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// statRoutes are what has message_stats. That of the channel is of its only one.
var statRoutes = map[string]string{
	"queue": "queues/stats/q", "other queue": "queues/stats/empty", "exchange": "exchanges/stats/x",
	"vhost": "vhosts/stats", "channel": "vhosts/stats/channels",
}

// countTraffic sends messages in all ways, and returns the counters by route once there
// are enough of them.
func countTraffic(t *testing.T, amqpAddr, api, user string) map[string]map[string]float64 {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func(method, route, body string) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+api+"/api/"+route, strings.NewReader(body))
		must(err)
		req.SetBasicAuth(user, user)
		resp, err := http.DefaultClient.Do(req)
		must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(err)
		if resp.StatusCode >= http.StatusBadRequest {
			t.Fatalf("%s %s: %d %s", method, route, resp.StatusCode, text)
		}
		return text
	}
	defer http.DefaultClient.CloseIdleConnections()
	ask("PUT", "vhosts/stats", "")
	ask("PUT", "permissions/stats/"+user, `{"configure":".*","write":".*","read":".*"}`)
	defer ask("DELETE", "vhosts/stats", "")
	conn, err := amqp091.Dial("amqp://" + url.UserPassword(user, user).String() + "@" + amqpAddr + "/stats")
	must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(err)
	trafficOfAllKinds(t, ch)

	sets := map[string]map[string]float64{}
	if *recordHTTP != "" {
		<-time.After(recordAfter)
	}
	for name, route := range statRoutes {
		text := ask("GET", route, "")
		var one struct {
			Stats map[string]any `json:"message_stats"`
		}
		if text[0] == '[' {
			text = text[1 : len(text)-1]
		}
		must(json.Unmarshal(text, &one))
		sets[name] = map[string]float64{}
		for member, value := range one.Stats {
			if n, isNumber := value.(float64); isNumber && n > 0 {
				sets[name][member] = n
			}
		}
	}
	return sets
}

// trafficOfAllKinds has each counter of a channel count something, and waits until all
// has come about.
func trafficOfAllKinds(t *testing.T, ch *amqp091.Channel) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"q", "empty"} {
		_, err := ch.QueueDeclare(name, true, false, false, false, nil)
		must(err)
	}
	must(ch.ExchangeDeclare("x", "topic", true, false, false, false, nil))
	must(ch.QueueBind("q", "a.*", "x", false, nil))
	publish := func(exchange, key string, mandatory bool) {
		t.Helper()
		must(ch.PublishWithContext(ctx, exchange, key, mandatory, false, amqp091.Publishing{Body: []byte("x")}))
	}
	publish("x", "a.b", false) // before there are confirms
	must(ch.Confirm(false))
	for range 5 {
		publish("x", "a.b", false)
	}
	publish("", "q", false)
	publish("x", "nowhere", false)
	returns := ch.NotifyReturn(make(chan amqp091.Return, 1))
	publish("x", "nowhere", true)
	select {
	case <-returns:
	case <-ctx.Done():
		t.Fatal("nothing was returned")
	}
	must(ch.Qos(2, 0, false))
	deliveries, err := ch.Consume("q", "tag", false, false, false, false, nil)
	must(err)
	next := func() amqp091.Delivery {
		t.Helper()
		select {
		case d := <-deliveries:
			return d
		case <-ctx.Done():
			t.Fatal("nothing is delivered")
		}
		return amqp091.Delivery{}
	}
	must(next().Ack(false))
	must(next().Reject(true))
	must(next().Ack(false))
	must(next().Reject(false))
	last := []amqp091.Delivery{next(), next()}
	must(ch.Cancel("tag", false))
	must(last[1].Ack(true))
	for _, noAck := range []bool{true, false} {
		d, ok, err := ch.Get("q", noAck)
		if must(err); ok && !noAck {
			must(d.Ack(false))
		}
	}
	_, _, err = ch.Get("empty", false)
	must(err)
	_, _, err = ch.Get("q", true) // waits for the acknowledgements
	must(err)
}

// TestCountersOfRabbitMQ compares message_stats with those that RabbitMQ gave after the
// same traffic.
func TestCountersOfRabbitMQ(t *testing.T) {
	file := filepath.Join("testdata", "rabbitmq_stats.json")
	if *recordHTTP != "" {
		text, err := json.MarshalIndent(countTraffic(t, *recordAMQP, *recordHTTP, "guest"), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]map[string]float64
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	got := countTraffic(t, w.amqp, w.http, "boss")
	if diff := cmp.Diff(recorded, got); diff != "" {
		t.Errorf("counters (-RabbitMQ +Tidegate):\n%s", diff)
	}
	overview := w.want(http.StatusOK, "GET", "overview", "").object(t)
	stats, _ := overview["message_stats"].(map[string]any)
	for name := range maps.Keys(recorded["channel"]) {
		if _, there := stats[name]; !there {
			t.Errorf("overview has no %s", name)
		}
	}
}
