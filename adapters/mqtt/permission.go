package mqtt

import (
	"bytes"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// Publishes are writes to the topic exchange and subscriptions reads of it.
// Topic permissions see a topic as a routing key: levels are divided by dots,
// the wildcards are * and #.

// appendKey appends a topic or filter as a routing key.
func appendKey(dst, topic []byte) []byte {
	for _, b := range topic {
		switch b {
		case '/':
			b = '.'
		case '.':
			b = '/'
		case '+':
			b = '*'
		}
		dst = append(dst, b)
	}
	return dst
}

// mayWrite tells whether the user may publish to the topic.
func mayWrite(p *gateway.Principal, namespace, clientID string, topic []byte) bool {
	if !p.Can(gateway.Write, namespace, core.TopicExchange) {
		return false
	}
	rule := p.TopicRule(namespace, core.TopicExchange, clientID)
	return rule == nil || rule.MayWrite(appendKey(nil, topic))
}

// grant remembers what the client may publish. It is of one generation of the
// permissions; the reader owns it.
type grant struct {
	generation uint64
	known      bool // what follows was looked up
	writable   bool
	rule       *gateway.TopicRule
	key        []byte // scratch
}

// mayPublish tells whether the client may publish to the topic.
func (c *conn) mayPublish(topic []byte) bool {
	g := &c.reader.grant
	if now := c.principal.Generation(); !g.known || g.generation != now {
		g.known, g.generation = true, now
		g.writable = c.principal.Can(gateway.Write, c.namespace, core.TopicExchange)
		g.rule = c.principal.TopicRule(c.namespace, core.TopicExchange, c.clientID)
	}
	if !g.writable || g.rule == nil {
		return g.writable
	}
	g.key = appendKey(g.key[:0], topic)
	return g.rule.MayWrite(g.key)
}

// readRule is what a client may subscribe to, as of now.
type readRule struct {
	queue func(name string) bool // may be consumed
	all   bool                   // the exchange may be read
	sys   bool                   // so may what the broker tells of itself
	rule  *gateway.TopicRule
}

func (c *conn) readRule() readRule {
	return readRule{
		queue: func(name string) bool { return c.principal.Can(gateway.Read, c.namespace, name) },
		all:   c.principal.Can(gateway.Read, c.namespace, core.TopicExchange),
		sys:   mayReadSys(c.principal),
		rule:  c.principal.TopicRule(c.namespace, core.TopicExchange, c.clientID),
	}
}

// allows tells whether the filter may be subscribed to.
func (r readRule) allows(filter string) bool {
	filter, queue := cutShared(filter)
	if queue != "" {
		return r.queue(queue)
	}
	if isSys(filter) && !r.sys {
		return false
	}
	return r.keeps(filter)
}

// keeps tells whether a subscription that was allowed once may stay. One of what the
// broker tells of itself stays without a word when the user loses the tag for it, see
// [conn.mayHear]: it holds no messages, and the session has others.
func (r readRule) keeps(filter string) bool {
	return r.all && (r.rule == nil || r.rule.MayRead(appendKey(nil, []byte(filter))))
}

// mayHear tells whether the client may have a message that is not stored: those of the
// broker's own topics are for some users only.
func (c *conn) mayHear(topic []byte) bool {
	return !bytes.HasPrefix(topic, []byte(sysRoot)) || mayReadSys(c.principal)
}

// mayReceive tells whether the client may have what its subscriptions match. It
// looks again when permissions have changed: a session that outlived a
// permission gets nothing more. It may be called from any goroutine.
func (c *conn) mayReceive() bool {
	now := c.principal.Generation()
	if c.readable.Load() == now+1 {
		return true
	}
	subs := c.subs.Load()
	if subs == nil {
		return true
	}
	rule := c.readRule()
	for filter := range subs.filters {
		if !rule.keeps(filter) {
			return false
		}
	}
	c.readable.Store(now + 1)
	return true
}
