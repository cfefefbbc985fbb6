package gateway

import (
	"log/slog"
	"regexp"
	"strings"
)

// Generation changes whenever a permission may have: what was found allowed
// under one generation holds until the next. It takes no lock.
func (p *Principal) Generation() uint64 { return p.auth.catalog.AccessGeneration() }

// TopicRule bounds the routing keys that a user may use with a topic exchange.
// A nil rule allows all. It is of one generation and safe for concurrent use.
type TopicRule struct {
	write, read *regexp.Regexp // nil matches nothing
}

// MayWrite tells whether the user may publish with the routing key.
func (r *TopicRule) MayWrite(key []byte) bool {
	return r == nil || r.write != nil && r.write.Match(key)
}

// MayRead tells whether the user may bind with the key.
func (r *TopicRule) MayRead(key []byte) bool {
	return r == nil || r.read != nil && r.read.Match(key)
}

// TopicRule returns what bounds the user's routing keys of an exchange, nil if
// nothing does. In the expressions {username}, {vhost} and {client_id} stand for
// the text of that; one with a wildcard in it matches nothing.
func (p *Principal) TopicRule(namespace, exchange, clientID string) *TopicRule {
	perm, ok := p.auth.catalog.TopicPermission(p.User, namespace, exchange)
	if !ok {
		return nil
	}
	values := [][2]string{{"{username}", p.User}, {"{vhost}", namespace}, {"{client_id}", clientID}}
	return &TopicRule{write: p.topicPattern(perm.Write, values), read: p.topicPattern(perm.Read, values)}
}

// topicPattern compiles an expression with its variables set, nil if it can't be.
func (p *Principal) topicPattern(pattern string, values [][2]string) *regexp.Regexp {
	if pattern == "" {
		pattern = "^$"
	}
	for _, v := range values {
		if !strings.Contains(pattern, v[0]) {
			continue
		}
		if v[1] == "" || strings.ContainsAny(v[1], "*#+") {
			return nil
		}
		pattern = strings.ReplaceAll(pattern, v[0], regexp.QuoteMeta(v[1]))
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		p.auth.log.Warn("topic permission is no regular expression and allows nothing",
			slog.String("user", p.User), slog.String("pattern", pattern), slog.Any("error", err))
		return nil
	}
	return re
}
