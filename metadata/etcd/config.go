package etcd

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/tidegate/tidegate/metadata"
)

// Config says how to reach an etcd cluster.
type Config struct {
	// Endpoints are URLs of members: "https://10.0.0.1:2379", or
	// "unix:///run/etcd.sock". At least one is needed.
	Endpoints []string
	// TLS is used with https endpoints; nil means the system's roots.
	TLS *tls.Config
	// Username and Password log in to a cluster with authentication; both
	// empty means none.
	Username string
	Password metadata.Secret
	// RequestTimeout bounds each call when the caller's context has no earlier
	// deadline. Default 3 s.
	RequestTimeout time.Duration
	// ProbeInterval is how often a watch asks the cluster for a sign of life.
	// A watch without an answer for three of them ends with
	// metadata.ErrUnavailable. Default 2 s.
	ProbeInterval time.Duration
}

// DefaultConfig returns a configuration that lacks only the endpoints.
func DefaultConfig() Config {
	return Config{RequestTimeout: 3 * time.Second, ProbeInterval: 2 * time.Second}
}

// Validate tells what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case len(c.Endpoints) == 0:
		return errors.New("etcd: no endpoints")
	case (c.Username == "") != (c.Password == ""):
		return errors.New("etcd: user name and password must be given together")
	case c.RequestTimeout < 0 || c.ProbeInterval < 0:
		return errors.New("etcd: negative timeout")
	}
	return nil
}

func (c *Config) withDefaults() Config {
	out, def := *c, DefaultConfig()
	if out.RequestTimeout == 0 {
		out.RequestTimeout = def.RequestTimeout
	}
	if out.ProbeInterval == 0 {
		out.ProbeInterval = def.ProbeInterval
	}
	return out
}
