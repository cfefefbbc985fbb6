package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/mqtt"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// Config is the whole configuration of a broker: its own settings and those of
// the packages it is made of.
type Config struct {
	// Data is the directory that holds the log and the embedded etcd.
	Data string `yaml:"data"`
	// LogLevel is the least important level that is logged: debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is text or json.
	LogFormat string `yaml:"log_format"`
	// DefaultUser is the administrator that is made on the first start, instead of guest.
	DefaultUser string `yaml:"default_user"`
	// DefaultPass is the password of DefaultUser.
	DefaultPass metadata.Secret `yaml:"default_pass"`

	Listen   Listen             `yaml:"listen"`
	Gateway  gateway.Config     `yaml:"gateway"`
	Auth     gateway.AuthConfig `yaml:"auth"`
	Metadata Metadata           `yaml:"metadata"`
	Core     core.Config        `yaml:"core"`
	MQTT     mqtt.Config        `yaml:"mqtt"`
	AMQP     amqp.Config        `yaml:"amqp"`
}

// Listen holds the addresses, as host:port; port 0 takes a free one. An empty
// list turns an endpoint off. Those with TLS are used if gateway.tls has a
// certificate.
type Listen struct {
	MQTT    []string `yaml:"mqtt"`     // MQTT 3.1.1 and 5
	MQTTWS  []string `yaml:"mqtt_ws"`  // MQTT over WebSocket, path /mqtt
	AMQP    []string `yaml:"amqp"`     // AMQP 0-9-1
	HTTP    []string `yaml:"http"`     // health, metrics, HTTP API
	MQTTS   []string `yaml:"mqtts"`    // MQTT over TLS
	MQTTWSS []string `yaml:"mqtt_wss"` // MQTT over WebSocket over TLS
	AMQPS   []string `yaml:"amqps"`    // AMQP over TLS
	HTTPS   []string `yaml:"https"`    // HTTP over TLS
}

// local returns the addresses of this machine alone, by IPv4 and IPv6.
func local(port string) []string {
	return []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
}

// defaultConfig returns what holds where nothing is configured.
func defaultConfig() Config {
	return Config{
		Data:      "./data",
		LogLevel:  "info",
		LogFormat: "text",
		Listen: Listen{
			MQTT: local("1883"), MQTTWS: local("8083"), AMQP: local("5672"), HTTP: local("15672"),
			MQTTS: local("8883"), MQTTWSS: local("8084"), AMQPS: local("5671"), HTTPS: local("15671"),
		},
		Gateway:  gateway.DefaultConfig(),
		Auth:     gateway.DefaultAuthConfig(),
		Metadata: Metadata{Cluster: "default"},
		Core:     core.DefaultConfig(),
		MQTT:     mqtt.Default(),
		AMQP:     amqp.DefaultConfig(),
	}
}

// validate returns an error that names the first setting that cannot work.
func (c Config) validate() error {
	var level slog.Level
	switch {
	case c.Data == "":
		return errors.New("data must name a directory")
	case level.UnmarshalText([]byte(c.LogLevel)) != nil:
		return fmt.Errorf("log_level %q is none of debug, info, warn, error", c.LogLevel)
	case c.LogFormat != "text" && c.LogFormat != "json":
		return fmt.Errorf("log_format %q is none of text, json", c.LogFormat)
	case (c.DefaultUser == "") != (c.DefaultPass == ""):
		return errors.New("default_user and default_pass need each other")
	}
	for _, e := range c.Listen.endpoints() {
		for _, addr := range e.addresses {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return fmt.Errorf("listen.%s: %w", e.name, err)
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return fmt.Errorf("listen.%s: %s has no port from 0 to 65535", e.name, addr)
			}
		}
	}
	for section, err := range map[string]error{
		"gateway": c.Gateway.Validate(), "metadata": c.Metadata.validate(), "core": c.Core.Validate(),
		"mqtt": c.MQTT.Validate(), "amqp": c.AMQP.Validate(),
	} {
		if err != nil {
			return fmt.Errorf("section %s: %w", section, err)
		}
	}
	return nil
}

// listenEndpoint is one list of addresses with its name in the configuration.
type listenEndpoint struct {
	name      string
	addresses []string
	tls       bool
}

func (l Listen) endpoints() []listenEndpoint {
	return []listenEndpoint{
		{"mqtt", l.MQTT, false},
		{"mqtt_ws", l.MQTTWS, false},
		{"amqp", l.AMQP, false},
		{"http", l.HTTP, false},
		{"mqtts", l.MQTTS, true},
		{"mqtt_wss", l.MQTTWSS, true},
		{"amqps", l.AMQPS, true},
		{"https", l.HTTPS, true},
	}
}
