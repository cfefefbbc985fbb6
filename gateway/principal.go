package gateway

import (
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
)

// Operation is what a permission allows.
type Operation uint8

// The operations of a permission.
const (
	Configure Operation = iota + 1
	Write
	Read
)

// String returns the operation's name in permissions and refusals.
func (o Operation) String() string {
	switch o {
	case Configure:
		return "configure"
	case Write:
		return "write"
	case Read:
		return "read"
	}
	return "no"
}

// Principal is a user that has logged in. Its permissions are those of now,
// not of the login. It is safe for concurrent use.
type Principal struct {
	User string
	auth *Authenticator
}

// CanAccess tells whether the user has any permission in the namespace.
func (p *Principal) CanAccess(namespace string) bool {
	if _, ok := p.auth.catalog.User(p.User); !ok {
		return false
	}
	_, ok := p.auth.catalog.Permission(p.User, namespace)
	return ok
}

// Can tells whether the user may do op on the resource (exchange or queue
// name; "" is asked for as "amq.default" for exchanges by the caller).
func (p *Principal) Can(op Operation, namespace, resource string) bool {
	if _, ok := p.auth.catalog.User(p.User); !ok {
		return false
	}
	perm, ok := p.auth.catalog.Permission(p.User, namespace)
	if !ok {
		return false
	}
	switch op {
	case Configure:
		return p.auth.patterns.match(perm.Configure, resource)
	case Write:
		return p.auth.patterns.match(perm.Write, resource)
	case Read:
		return p.auth.patterns.match(perm.Read, resource)
	}
	return false
}

// HasTag tells whether the user has one of the tags now.
func (p *Principal) HasTag(tags ...string) bool {
	u, ok := p.auth.catalog.User(p.User)
	return ok && slices.ContainsFunc(u.Tags, func(t string) bool { return slices.Contains(tags, t) })
}

// maxPatterns bounds the compiled patterns that are kept.
const maxPatterns = 4096

// patterns matches names against permission expressions and keeps what it has
// compiled. Expressions take time linear in the name, whatever they are.
type patterns struct {
	log      *slog.Logger
	compiled sync.Map // string → *regexp.Regexp, nil for one that does not compile
	count    atomic.Int64
}

// match tells whether the expression finds something in the name. The empty
// expression matches the empty name alone; one that is no expression, nothing.
func (p *patterns) match(pattern, name string) bool {
	switch pattern {
	case "":
		return name == ""
	case ".*": // what most users have
		return true
	}
	re := p.compile(pattern)
	return re != nil && re.MatchString(name)
}

func (p *patterns) compile(pattern string) *regexp.Regexp {
	if v, ok := p.compiled.Load(pattern); ok {
		re, _ := v.(*regexp.Regexp)
		return re
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		p.log.Warn("permission is no regular expression and allows nothing",
			slog.String("pattern", pattern), slog.Any("error", err))
	}
	if p.count.Add(1) > maxPatterns {
		p.compiled.Clear()
		p.count.Store(1)
	}
	p.compiled.Store(pattern, re)
	return re
}
