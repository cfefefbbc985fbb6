package main

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/gateway/api"
	"github.com/tidegate/tidegate/metadata"
)

// protocolNames are the endpoints by the names that RabbitMQ's API has for
// their protocols.
var protocolNames = map[string]string{
	"mqtt": "mqtt", "mqtts": "mqtt/ssl", "mqtt_ws": "http/web-mqtt", "mqtt_wss": "https/web-mqtt",
	"amqp": "amqp", "amqps": "amqp/ssl", "http": "http", "https": "https",
}

// newManagement returns the management API. server is asked once the gateway listens.
func newManagement(
	cfg Config, broker *core.Broker, catalog *metadata.Catalog, clients *gateway.Clients,
	log *slog.Logger, server func() *gateway.Server,
) *api.API {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return api.New(api.Deps{
		Broker: broker, Catalog: catalog, Clients: clients, Log: log.With(slog.String("part", "api")),
		Dialect: api.Dialect{
			CheckQueue: amqp.CheckQueue, CheckExchange: amqp.CheckExchange, Refusal: amqp.Refusal,
			Copies: amqp.Copies, AppendProperties: amqp.AppendProperties, Format: core.FormatAMQP,
		},
		Node: "tidegate@" + host, Cluster: cfg.Metadata.Cluster, Product: cfg.AMQP.Product, Version: versionName(),
		Listeners:       func() []api.Listener { return cfg.listeners(server().Addresses) },
		CertificateEnds: func() time.Time { return server().CertificateEnds() },
	})
}

// listeners are the open addresses of all endpoints.
func (c Config) listeners(addresses func(string) []net.Addr) []api.Listener {
	var out []api.Listener
	for _, l := range c.Listen.endpoints() {
		for _, addr := range addresses(l.name) {
			if ap, err := netip.ParseAddrPort(addr.String()); err == nil {
				out = append(out, api.Listener{
					Protocol: protocolNames[l.name], Host: ap.Addr().String(), Port: int(ap.Port()), TLS: l.tls,
				})
			}
		}
	}
	return out
}
