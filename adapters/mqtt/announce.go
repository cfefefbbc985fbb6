package mqtt

import (
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/gateway"
)

// announce makes the connection known to those who look after the broker.
func (c *conn) announce() error {
	protocol := "MQTT 3-1-1"
	if c.v5 {
		protocol = "MQTT 5-0"
	}
	return c.nc.Announce(gateway.Client{
		Protocol:   protocol,
		User:       c.principal.User,
		Namespace:  c.namespace,
		Given:      c.clientID,
		Mechanism:  "PLAIN",
		Properties: func() map[string]any { return map[string]any{"client_id": c.clientID, "product": "MQTT client"} },
		Heartbeat:  c.keepAlive,
		Close:      func(reason string) { c.end(wire.AdministrativeAction, reason) },
	})
}
