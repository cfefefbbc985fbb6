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

// variable is what stands for a name in an expression.
type variable struct {
	text, name string
	level      bool // one level of an MQTT topic, as it is in a routing key
}

// TopicRule returns what bounds the user's routing keys of an exchange, nil if
// nothing does. In the expressions {username}, {vhost} and {client_id} stand for
// the text of that, and %u and %c for user and client id as one level of an MQTT
// topic; one with a wildcard in it matches nothing, nor does a level with a slash.
func (p *Principal) TopicRule(namespace, exchange, clientID string) *TopicRule {
	perm, ok := p.auth.catalog.TopicPermission(p.User, namespace, exchange)
	if !ok {
		return nil
	}
	variables := []variable{
		{"{username}", p.User, false},
		{"{vhost}", namespace, false},
		{"{client_id}", clientID, false},
		{"%u", p.User, true},
		{"%c", clientID, true},
	}
	return &TopicRule{write: p.topicPattern(perm.Write, variables), read: p.topicPattern(perm.Read, variables)}
}

// literal is the expression that matches the name alone; false when there is none.
func (v *variable) literal() (string, bool) {
	if v.name == "" || strings.ContainsAny(v.name, "*#+") {
		return "", false
	}
	if !v.level {
		return regexp.QuoteMeta(v.name), true
	}
	// A dot in a topic is a slash in a routing key.
	return regexp.QuoteMeta(strings.ReplaceAll(v.name, ".", "/")), !strings.Contains(v.name, "/")
}

// topicPattern compiles an expression with its variables set, nil if it can't be.
func (p *Principal) topicPattern(pattern string, variables []variable) *regexp.Regexp {
	if pattern == "" {
		pattern = "^$"
	}
	var set []string
	for i := range variables {
		if !strings.Contains(pattern, variables[i].text) {
			continue
		}
		literal, ok := variables[i].literal()
		if !ok {
			return nil
		}
		set = append(set, variables[i].text, literal)
	}
	// All at once: a name may have in it what stands for another.
	re, err := regexp.Compile(strings.NewReplacer(set...).Replace(pattern))
	if err != nil {
		p.auth.log.Warn("topic permission is no regular expression and allows nothing",
			slog.String("user", p.User), slog.String("pattern", pattern), slog.Any("error", err))
		return nil
	}
	return re
}
