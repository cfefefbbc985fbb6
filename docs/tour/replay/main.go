// Command replay publishes a week of earthquakes over MQTT with QoS 1, each on
// the topic quake/<network>/<magnitude>, and waits until all are confirmed.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	broker = "tcp://127.0.0.1:1883"
	file   = "e2e/testdata/earthquakes.json"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("run this in the root of the repository: %w", err)
	}
	var feed struct{ Features []json.RawMessage }
	if err := json.Unmarshal(text, &feed); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}

	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetClientID("replay"))
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return fmt.Errorf("connect to %s: %w", broker, t.Error())
	}
	defer client.Disconnect(250)

	published := make([]mqtt.Token, 0, len(feed.Features))
	for _, event := range feed.Features {
		topic, err := topicOf(event)
		if err != nil {
			return err
		}
		published = append(published, client.Publish(topic, 1, false, []byte(event)))
	}
	for _, t := range published {
		if t.Wait() && t.Error() != nil {
			return fmt.Errorf("publish: %w", t.Error())
		}
	}
	_, err = fmt.Fprintf(os.Stdout, "%d earthquakes published, all confirmed\n", len(published))
	return err
}

// topicOf names the network that reported the event and its whole magnitude.
func topicOf(event []byte) (string, error) {
	var e struct {
		Properties struct {
			Net string
			Mag float64
		}
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return "", fmt.Errorf("read event: %w", err)
	}
	if e.Properties.Mag < 0 {
		return "quake/" + e.Properties.Net + "/below0", nil
	}
	return fmt.Sprintf("quake/%s/m%d", e.Properties.Net, int(math.Floor(e.Properties.Mag))), nil
}
