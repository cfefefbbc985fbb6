package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
)

// perTopic is an ordered list of payloads by topic.
type perTopic map[string][]string

func (p perTopic) add(topic, payload string) { p[topic] = append(p[topic], payload) }

// quakes reads the earthquakes as messages on quake/<net>/<magnitude band>.
func quakes(t *testing.T) []keyed {
	t.Helper()
	data, err := os.ReadFile("testdata/earthquakes.json")
	if err != nil {
		t.Fatal(err)
	}
	var feed struct {
		Metadata struct {
			Count int `json:"count"`
		} `json:"metadata"`
		Features []json.RawMessage `json:"features"`
	}
	if err := json.Unmarshal(data, &feed); err != nil {
		t.Fatal(err)
	}
	if len(feed.Features) != feed.Metadata.Count {
		t.Fatalf("the file has %d events and says %d", len(feed.Features), feed.Metadata.Count)
	}
	messages := make([]keyed, 0, len(feed.Features))
	for _, raw := range feed.Features {
		var event struct {
			Properties struct {
				Net string  `json:"net"`
				Mag float64 `json:"mag"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(raw, &event); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, keyed{"quake/" + event.Properties.Net + "/" + band(event.Properties.Mag), raw})
	}
	return messages
}

// band names the whole magnitude that an earthquake reached.
func band(magnitude float64) string {
	if magnitude < 0 {
		return "below0"
	}
	return fmt.Sprintf("m%d", int(math.Floor(magnitude)))
}

// expect returns the messages whose topic passes, by topic and in order.
func expect(messages []keyed, passes func(topic string) bool) (perTopic, int) {
	want, n := perTopic{}, 0
	for _, m := range messages {
		if passes(m.key) {
			want.add(m.key, string(m.body))
			n++
		}
	}
	return want, n
}

func TestEarthquakesFromDevicesToApplications(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsMQTT()
		b.needsAMQP()
		messages := quakes(t)

		offline := connect5(t, b.MQTT, "quake-archive", mqtt5Options{keep: time.Hour})
		offline.subscribe(t, "quake/#", 1)
		offline.close()

		ch := openChannel(t, b.AMQP)
		durableQueue(t, ch, "quakes.california", "quake.ci.#")
		durableQueue(t, ch, "quakes.strong", "quake.*.m4")
		california := consumeQueue(t, openChannel(t, b.AMQP), "quakes.california", 200)
		strong := consumeQueue(t, openChannel(t, b.AMQP), "quakes.strong", 200)

		publishAll3(t, b.MQTT, messages)

		for _, c := range []struct {
			name   string
			passes func(topic string) bool
			take   func(n int) perTopic
		}{
			{"quake.ci.#", func(topic string) bool { return strings.HasPrefix(topic, "quake/ci/") }, func(n int) perTopic {
				got := perTopic{}
				for _, d := range receiveAcked(t, california, n) {
					got.add(strings.ReplaceAll(d.RoutingKey, ".", "/"), string(d.Body))
				}
				return got
			}},
			{"quake.*.m4", func(topic string) bool { return strings.HasSuffix(topic, "/m4") }, func(n int) perTopic {
				got := perTopic{}
				for _, d := range receiveAcked(t, strong, n) {
					got.add(strings.ReplaceAll(d.RoutingKey, ".", "/"), string(d.Body))
				}
				return got
			}},
			{"quake/# offline", func(string) bool { return true }, func(n int) perTopic {
				archive := connect5(t, b.MQTT, "quake-archive", mqtt5Options{keep: time.Hour, resume: true})
				if !archive.connack.SessionPresent {
					t.Error("the offline session was not kept")
				}
				got := perTopic{}
				for _, p := range archive.nextN(t, n) {
					got.add(p.Topic, string(p.Payload))
				}
				nothingMore(t, archive.got)
				return got
			}},
		} {
			want, n := expect(messages, c.passes)
			if diff := cmp.Diff(want, c.take(n)); diff != "" {
				t.Errorf("%s (-want +got):\n%.2000s", c.name, diff)
			}
			t.Logf("%s: %d events on %d topics", c.name, n, len(want))
		}
		nothingMore(t, california)
		nothingMore(t, strong)
	})
}

// stocks reads the prices as messages with key stock.<symbol>.
func stocks(t *testing.T) []keyed {
	t.Helper()
	data, err := os.ReadFile("testdata/stocks.csv")
	if err != nil {
		t.Fatal(err)
	}
	var messages []keyed
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		if i == 0 {
			continue // the header
		}
		symbol, _, _ := bytes.Cut(line, []byte(","))
		messages = append(messages, keyed{"stock." + string(symbol), bytes.TrimSpace(line)})
	}
	return messages
}

func TestStocksFromApplicationsToDevices(t *testing.T) {
	eachShardCount(t, func(t *testing.T, b *broker) {
		b.needsMQTT()
		b.needsAMQP()
		rows := stocks(t)
		asTopics := make([]keyed, 0, len(rows))
		for _, m := range rows {
			asTopics = append(asTopics, keyed{strings.ReplaceAll(m.key, ".", "/"), m.body})
		}

		all := connect5(t, b.MQTT, "ticker-all", mqtt5Options{})
		all.subscribe(t, "stock/+", 1)
		one := make(chan mqtt3.Message, inbox)
		c := connect3(t, options3(b.MQTT, "ticker-ibm", true))
		await3(t, "subscribe", c.Subscribe("stock/IBM", 1, func(_ mqtt3.Client, m mqtt3.Message) { one <- m }))

		publishConfirmed(t, b.AMQP, "amq.topic", rows)

		want, n := expect(asTopics, func(string) bool { return true })
		got := perTopic{}
		for _, p := range all.nextN(t, n) {
			got.add(p.Topic, string(p.Payload))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stock/+ (-want +got):\n%.2000s", diff)
		}
		t.Logf("%d prices of %d symbols", n, len(want))

		want, n = expect(asTopics, func(topic string) bool { return topic == "stock/IBM" })
		got = perTopic{}
		for range n {
			select {
			case m := <-one:
				got.add(m.Topic(), string(m.Payload()))
			case <-time.After(patience):
				t.Fatalf("stock/IBM: no message within %v", patience)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stock/IBM (-want +got):\n%.2000s", diff)
		}
		nothingMore(t, all.got)
		nothingMore(t, one)
	})
}
