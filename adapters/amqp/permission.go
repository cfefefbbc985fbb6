package amqp

import "github.com/tidegate/tidegate/gateway"

// defaultExchange is the name that permissions know the exchange "" by.
const defaultExchange = "amq.default"

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
		op, object(kind, resource, c.namespace), c.principal.User)
}

// permitAny checks that there is one permission at all, which is enough to
// learn that a queue or an exchange exists.
func (c *connection) permitAny(kind, name string) error {
	if c.permit(gateway.Read, kind, name) == nil || c.permit(gateway.Write, kind, name) == nil {
		return nil
	}
	return c.permit(gateway.Configure, kind, name)
}

// maxGrants bounds the exchanges that a connection remembers to be allowed.
const maxGrants = 256

// grants remembers the exchanges that the connection may publish to, so that a
// publish costs a look into a map. It is of one generation of the permissions.
type grants struct {
	generation uint64
	exchanges  map[string]*gateway.TopicRule // nil for no rule
}

// permitPublish checks the write permission on an exchange, and on the routing
// key if the exchange is one of topics.
func (ch *channel) permitPublish(exchange, key []byte) error {
	rule, err := ch.c.grant(exchange)
	if rule == nil || err != nil {
		return err
	}
	return ch.permitTopic(gateway.Write, rule.MayWrite(key), string(exchange), string(key))
}

// grant returns the rule for publishes to an exchange, or why there may be none.
func (c *connection) grant(exchange []byte) (*gateway.TopicRule, error) {
	g := &c.grants
	if now := c.principal.Generation(); g.generation != now {
		clear(g.exchanges)
		g.generation = now
	}
	if rule, ok := g.exchanges[string(exchange)]; ok {
		return rule, nil
	}
	name := string(exchange)
	if err := c.permit(gateway.Write, "exchange", name); err != nil {
		return nil, err
	}
	switch {
	case g.exchanges == nil:
		g.exchanges = make(map[string]*gateway.TopicRule)
	case len(g.exchanges) >= maxGrants:
		clear(g.exchanges)
	}
	rule := c.principal.TopicRule(c.namespace, name, "")
	g.exchanges[name] = rule
	return rule, nil
}

// permitBinding checks the permission to bind with a key.
func (ch *channel) permitBinding(exchange, key string) error {
	rule := ch.c.principal.TopicRule(ch.c.namespace, exchange, "")
	if rule == nil {
		return nil
	}
	return ch.permitTopic(gateway.Read, rule.MayRead([]byte(key)), exchange, key)
}

// permitTopic refuses a key that the rule does not allow, unless the exchange
// does not route by topics.
func (ch *channel) permitTopic(op gateway.Operation, allowed bool, exchange, key string) error {
	if allowed {
		return nil
	}
	if x, err := ch.broker().CheckExchange(ch.c.namespace, exchange); err != nil || x.Routes() != "topic" {
		return nil //nolint:nilerr // what is done with it tells that it is missing
	}
	return refuse(codeAccessRefused, "%s access to topic '%s' in %s refused for user '%s'",
		op, key, object("exchange", exchange, ch.c.namespace), ch.c.principal.User)
}

// permitDeadLetters checks what a queue needs to pass its messages on.
func (c *connection) permitDeadLetters(queue string, args map[string]any) error {
	exchange, ok := args[argDeadExchange].(string)
	if !ok {
		return nil
	}
	if err := c.permit(gateway.Read, "queue", queue); err != nil {
		return err
	}
	return c.permit(gateway.Write, "exchange", exchange)
}
