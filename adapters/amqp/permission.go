package amqp

import "github.com/tidegate/tidegate/gateway"

// defaultExchange is the name that permissions know the exchange "" by.
const defaultExchange = "amq.default"

var operationNames = map[gateway.Operation]string{
	gateway.Configure: "configure",
	gateway.Write:     "write",
	gateway.Read:      "read",
}

// permit checks a permission on a queue or an exchange.
func (c *connection) permit(op gateway.Operation, kind, name string) error {
	resource := name
	if kind == "exchange" && name == "" {
		resource = defaultExchange
	}
	if c.principal.Can(op, c.namespace, resource) {
		return nil
	}
	return refuse(codeAccessRefused, "%s access to %s refused for user '%s'",
		operationNames[op], object(kind, resource, c.namespace), c.principal.User)
}

// permitAny checks that there is one permission at all, which is enough to
// learn that a queue or an exchange exists.
func (c *connection) permitAny(kind, name string) error {
	if c.permit(gateway.Read, kind, name) == nil || c.permit(gateway.Write, kind, name) == nil {
		return nil
	}
	return c.permit(gateway.Configure, kind, name)
}

// permitted remembers, for one burst of frames, the exchange that publishing
// was last allowed to.
type permitted struct {
	exchange string
	burst    uint64
	valid    bool
}

// permitPublish checks the write permission on an exchange.
func (ch *channel) permitPublish(exchange []byte) error {
	p := &ch.permitted
	if p.valid && p.burst == ch.c.burst && p.exchange == string(exchange) {
		return nil
	}
	p.valid = false
	if p.exchange != string(exchange) {
		p.exchange = string(exchange)
	}
	if err := ch.c.permit(gateway.Write, "exchange", p.exchange); err != nil {
		return err
	}
	p.valid, p.burst = true, ch.c.burst
	return nil
}
