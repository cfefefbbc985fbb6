package gateway

import (
	"errors"
	"fmt"
	"path"
	"time"
)

// Config holds the settings of the front door.
type Config struct {
	// TLS is the certificate of the TLS listeners.
	TLS TLS `yaml:"tls"`
	// MaxConnections is how many clients may be connected: one more is told so when
	// it logs in. Sockets of all listeners together may be 64 more, the rest is reset.
	MaxConnections int `yaml:"max_connections"`
	// MaxChannels is how many channels all clients together may open; 0 is no limit.
	MaxChannels int `yaml:"max_channels"`
	// MaxConnectionsPerAddress bounds the open connections from one IPv4
	// address or one IPv6 /64 network.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// HandshakeTimeout bounds the TLS handshake and the reading of HTTP headers.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// DrainDelay is how long a stopping broker still accepts connections while
	// /readyz says that it is not ready, so that a load balancer can look first.
	DrainDelay time.Duration `yaml:"drain_delay"`
	// DrainGrace is how long clients may acknowledge what was delivered to them
	// once the listeners are closed; then they are told goodbye.
	DrainGrace time.Duration `yaml:"drain_grace"`
	// DrainTimeout is how long a stopping broker waits for its connections to
	// end, DrainGrace included, before it closes them.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// WebSocketOrigins are the hosts of web pages, besides the broker's own
	// host, that may connect over WebSocket; `*` matches within a label.
	WebSocketOrigins []string `yaml:"websocket_origins"`
	// MetricsLoopback lets programs on this machine read /metrics without a login.
	MetricsLoopback bool `yaml:"metrics_loopback"`
}

// TLS names the PEM files of the TLS listeners.
type TLS struct {
	// Cert is the file of the certificate chain; empty means no TLS listeners.
	Cert string `yaml:"cert"`
	// Key is the file of the certificate's private key.
	Key string `yaml:"key"`
	// ClientCA is the file of the authorities whose client certificates are
	// believed; empty asks clients for none.
	ClientCA string `yaml:"client_ca"`
	// CertLoginFrom says where a client certificate has the name of the user:
	// FromCommonName, FromDistinguishedName or FromAlternativeName.
	CertLoginFrom string `yaml:"cert_login_from"`
	// CertLoginSANType is the kind of alternative name: dns, email, ip or uri.
	CertLoginSANType string `yaml:"cert_login_san_type"`
	// CertLoginSANIndex tells which of the alternative names of that kind counts,
	// from 0.
	CertLoginSANIndex int `yaml:"cert_login_san_index"`
}

// Enabled tells whether a certificate is configured.
func (t TLS) Enabled() bool { return t.Cert != "" }

// DefaultConfig returns the settings that hold where none are given.
func DefaultConfig() Config {
	return Config{
		TLS:                      TLS{CertLoginFrom: FromCommonName, CertLoginSANType: "dns"},
		MaxConnections:           65_536,
		MaxConnectionsPerAddress: 32_768,
		HandshakeTimeout:         5 * time.Second,
		DrainGrace:               2 * time.Second,
		DrainTimeout:             8 * time.Second,
		MetricsLoopback:          true,
	}
}

// Validate returns an error that names the first setting that cannot work.
func (c Config) Validate() error {
	switch {
	case c.MaxConnections < 1:
		return errors.New("max_connections must be at least 1")
	case c.MaxChannels < 0:
		return errors.New("max_channels must not be below 0")
	case c.MaxConnectionsPerAddress < 1:
		return errors.New("max_connections_per_address must be at least 1")
	case c.HandshakeTimeout <= 0:
		return errors.New("handshake_timeout must be above 0")
	case c.DrainTimeout <= 0:
		return errors.New("drain_timeout must be above 0")
	case c.DrainDelay < 0:
		return errors.New("drain_delay must not be below 0")
	case c.DrainGrace < 0 || c.DrainGrace >= c.DrainTimeout:
		return errors.New("drain_grace must not be below 0, and be below drain_timeout")
	}
	if err := c.TLS.validate(); err != nil {
		return err
	}
	for _, origin := range c.WebSocketOrigins {
		if _, err := path.Match(origin, ""); err != nil {
			return fmt.Errorf("websocket_origins %q: %w", origin, err)
		}
	}
	return nil
}
