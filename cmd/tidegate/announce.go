package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/tidegate/tidegate/gateway"
)

// announce tells people and programs where clients connect.
func (c *serveCommand) announce(w io.Writer, cfg Config, server *gateway.Server, started *closers) error {
	if err := banner(w, cfg, server); err != nil {
		return fmt.Errorf("print banner: %w", err)
	}
	if c.ReadyFile == "" {
		return nil
	}
	ready := readyFile{
		MQTT: first(server, "mqtt"), MQTTWS: first(server, "mqtt_ws"),
		AMQP: first(server, "amqp"), HTTP: first(server, "http"), PID: os.Getpid(),
	}
	if err := ready.write(c.ReadyFile); err != nil {
		return err
	}
	started.add("remove ready file", func() error { return os.Remove(c.ReadyFile) })
	return nil
}

func first(server *gateway.Server, endpoint string) string {
	addrs := server.Addresses(endpoint)
	if len(addrs) == 0 {
		return ""
	}
	return addrs[0].String()
}

// banner says where to connect, and with which login if it is the default one.
func banner(w io.Writer, cfg Config, server *gateway.Server) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Tidegate %s serves from %s\n", versionName(), cfg.Data)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range []struct{ endpoint, label, scheme, path string }{
		{"mqtt", "MQTT", "mqtt://", ""},
		{"mqtts", "MQTT over TLS", "mqtts://", ""},
		{"mqtt_ws", "MQTT over WebSocket", "ws://", "/mqtt"},
		{"mqtt_wss", "MQTT over WebSocket, TLS", "wss://", "/mqtt"},
		{"amqp", "AMQP 0-9-1", "amqp://", ""},
		{"amqps", "AMQP 0-9-1 over TLS", "amqps://", ""},
		{"http", "HTTP", "http://", ""},
		{"https", "HTTP over TLS", "https://", ""},
	} {
		var urls []string
		for _, addr := range server.Addresses(l.endpoint) {
			urls = append(urls, l.scheme+addr.String()+l.path)
		}
		if len(urls) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(table, "  %s\t%s\n", l.label, strings.Join(urls, "  ")); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if cfg.DefaultUser == "" {
		fmt.Fprint(&b, "  Login guest / guest, from this machine only, unless users were made since.\n")
	}
	fmt.Fprint(&b, "  Stop with Ctrl-C.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
