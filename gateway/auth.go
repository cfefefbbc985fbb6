package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/tidegate/tidegate/metadata"
)

// ErrRefused is the answer to every login that is not granted. It does not
// tell why: the log does.
var ErrRefused = errors.New("login refused")

// maxVerifications bounds how many passwords are hashed at once, and so the
// memory and the CPU that strangers can use.
const maxVerifications = 2

// AuthConfig holds the settings of logins.
type AuthConfig struct {
	// AnonymousUser is who clients on this machine are that give no user name;
	// empty refuses them. Anonymous clients from elsewhere are always refused.
	AnonymousUser string `yaml:"anonymous_user"`
	// LoopbackUsers may log in from this machine only.
	LoopbackUsers []string `yaml:"loopback_users"`
}

// DefaultAuthConfig returns the settings that hold where none are given.
func DefaultAuthConfig() AuthConfig {
	return AuthConfig{AnonymousUser: "guest", LoopbackUsers: []string{"guest"}}
}

// Login is what a client says of itself.
type Login struct {
	User      string
	Password  string
	Anonymous bool // no user name was given
	// Certified tells that User is who the client's TLS certificate says that it
	// is, see [Conn]: it needs no password.
	Certified bool
	Loopback  bool
	Remote    string // for the log
}

// Authenticator checks logins. It is safe for concurrent use.
type Authenticator struct {
	cfg      AuthConfig
	catalog  *metadata.Catalog
	log      *slog.Logger
	verified *credentials
	patterns patterns
	dummy    argonHash
	matches  func(stored storedPassword, password string) bool
	// slots holds one token for each verification that runs. Logins wait for a
	// token until their context ends; their number is that of connections.
	slots chan struct{}

	accepted, refused atomic.Uint64
}

// NewAuthenticator returns an authenticator over the users of the catalog.
func NewAuthenticator(cfg AuthConfig, catalog *metadata.Catalog, log *slog.Logger) *Authenticator {
	return &Authenticator{
		cfg:      cfg,
		catalog:  catalog,
		log:      log,
		verified: newCredentials(),
		patterns: patterns{log: log},
		dummy:    dummyHash(),
		matches:  storedPassword.matches,
		slots:    make(chan struct{}, maxVerifications),
	}
}

// Login returns the principal, or ErrRefused. It takes as long for an unknown
// user as for a wrong password. A user name "namespace:user" logs user in;
// the protocol decides what the prefix means and strips it before. Another
// error means that ctx ended before the password was checked.
func (a *Authenticator) Login(ctx context.Context, l Login) (*Principal, error) {
	user, reason, err := a.check(ctx, l)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		a.refused.Add(1)
		a.log.LogAttrs(ctx, slog.LevelInfo, "login refused", slog.String("user", l.User),
			slog.String("remote", l.Remote), slog.String("reason", reason))
		return nil, ErrRefused
	}
	a.accepted.Add(1)
	return &Principal{User: user, auth: a}, nil
}

// Known returns a user that has logged in before as a principal: for what it left to be
// done later. If there is no such user any more, it may do nothing.
func (a *Authenticator) Known(user string) *Principal { return &Principal{User: user, auth: a} }

// check returns who the client is, or the reason of a refusal.
func (a *Authenticator) check(ctx context.Context, l Login) (user, reason string, err error) {
	if l.Anonymous {
		user, reason = a.anonymous(l)
		return user, reason, nil
	}
	if l.Certified {
		_, reason = a.permitted(l)
		return l.User, reason, nil
	}
	hash, reason := a.storedHash(l)
	if reason != "" {
		// Take as long as for a user that exists.
		_, err := a.verify(ctx, l, "", a.dummy)
		return "", reason, err
	}
	ok := a.verified.has(l.User, l.Password, hash)
	if !ok {
		stored, err := parseStored(string(hash))
		if err != nil {
			stored = a.dummy
			reason = err.Error()
		}
		if ok, err = a.verify(ctx, l, hash, stored); err != nil {
			return "", "", err
		}
	}
	if !ok && reason == "" {
		reason = "wrong password"
	}
	return l.User, reason, nil
}

func (a *Authenticator) anonymous(l Login) (user, reason string) {
	switch {
	case a.cfg.AnonymousUser == "":
		return "", "anonymous logins are off"
	case !l.Loopback:
		return "", "anonymous login from another machine"
	}
	if _, ok := a.catalog.User(a.cfg.AnonymousUser); !ok {
		return "", "anonymous user does not exist"
	}
	return a.cfg.AnonymousUser, ""
}

// storedHash returns the hash that the password has to match.
func (a *Authenticator) storedHash(l Login) (metadata.Secret, string) {
	u, reason := a.permitted(l)
	if reason == "" && u.Hash == "" {
		reason = "user has no password"
	}
	if reason != "" {
		return "", reason
	}
	return u.Hash, ""
}

// permitted returns the user that may log in from where the client is.
func (a *Authenticator) permitted(l Login) (u metadata.User, reason string) {
	u, ok := a.catalog.User(l.User)
	switch {
	case l.Certified && l.User == "":
		return u, "certificate has no name of the kind that is configured"
	case !ok:
		return u, "unknown user"
	case !l.Loopback && slices.Contains(a.cfg.LoopbackUsers, l.User):
		return u, "user may log in from the broker's machine only"
	}
	return u, ""
}

// verify hashes the password, when there is room for it, and remembers it if
// it was right for the stored hash.
func (a *Authenticator) verify(ctx context.Context, l Login, hash metadata.Secret, stored storedPassword) (bool, error) {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("check password: %w", context.Cause(ctx))
	}
	defer func() { <-a.slots }()
	// Many clients with the same login come at once after a restart: the first
	// of them has paid for all.
	if hash != "" && a.verified.has(l.User, l.Password, hash) {
		return true, nil
	}
	_, foreign := stored.(foreignHash)
	if !a.matches(stored, l.Password) {
		if foreign {
			a.matches(a.dummy, l.Password) // takes as long as any other wrong password
		}
		return false, nil
	}
	a.verified.add(l.User, l.Password, hash)
	if foreign {
		a.rehash(ctx, l.User, l.Password, hash)
	}
	return true, nil
}
