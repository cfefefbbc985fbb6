package mqtt

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// Config are the settings of the MQTT adapter.
type Config struct {
	// ReceiveMaximum is how many QoS 1 and 2 publishes a client may have
	// unanswered. It is announced to MQTT 5 clients and enforced; on 3.1.1 the
	// connection is not read while it is reached.
	ReceiveMaximum uint16 `yaml:"receive_maximum"`
	// Window is how many QoS 1 and 2 messages a 3.1.1 client gets before it
	// acknowledges; MQTT 5 clients say it themselves.
	Window uint16 `yaml:"window"`
	// SessionExpiry is how long a persistent 3.1.1 session outlives its
	// connection. MQTT 5 clients ask for their own.
	SessionExpiry time.Duration `yaml:"session_expiry"`
	// MaxSessionExpiry caps what MQTT 5 clients ask for; 0 is no cap.
	MaxSessionExpiry time.Duration `yaml:"max_session_expiry"`
	// MaxPacketSize is the largest packet that is taken, in bytes; 0 follows
	// the largest message of the broker, with room for topic and properties.
	MaxPacketSize int `yaml:"max_packet_size"`
	// TopicAliases is how many topic aliases there may be in each direction
	// of a connection; 0 turns them off.
	TopicAliases uint16 `yaml:"topic_aliases"`
	// ConnectTimeout is how long a new connection has for its CONNECT.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// MaxKeepAlive, when not 0, is imposed on MQTT 5 clients that ask for a
	// longer keep alive or none, in whole seconds.
	MaxKeepAlive time.Duration `yaml:"max_keep_alive"`
	// OutputLimit is how many bytes wait for a slow reader before QoS 0
	// messages for it are dropped. Another buffer of that size may be on its
	// way to the socket.
	OutputLimit int `yaml:"output_limit"`
	// MaxSubscriptions is how many subscriptions a session may have.
	MaxSubscriptions int `yaml:"max_subscriptions"`
	// SysInterval is how often the $SYS topics are published; 0 turns them off.
	SysInterval time.Duration `yaml:"sys_interval"`
	// Version is what the server calls itself there.
	Version string `yaml:"-"`
}

// Default returns the settings for those that are not given.
func Default() Config {
	return Config{
		ReceiveMaximum:   1024,
		Window:           100,
		SessionExpiry:    7 * 24 * time.Hour,
		TopicAliases:     32,
		ConnectTimeout:   5 * time.Second,
		OutputLimit:      1 << 20,
		MaxSubscriptions: 10_000,
		SysInterval:      10 * time.Second,
		Version:          "0.0.0",
	}
}

// packetOverhead is the room for topic, properties and headers that a packet
// has beside the largest payload.
const packetOverhead = 192 << 10

// minPacketSize is the smallest limit that still lets every legal CONNECT in.
const minPacketSize = 64 << 10

// Validate tells what is wrong with the settings.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, setting, must string) {
		if !ok {
			errs = append(errs, fmt.Errorf("mqtt: %s must be %s", setting, must))
		}
	}
	check(c.ReceiveMaximum > 0, "receive_maximum", "at least 1")
	check(c.Window > 0, "window", "at least 1")
	check(c.SessionExpiry > 0, "session_expiry", "above 0")
	check(c.MaxSessionExpiry >= 0, "max_session_expiry", "0 or more")
	check(c.MaxPacketSize == 0 || c.MaxPacketSize >= minPacketSize && c.MaxPacketSize <= wire.MaxLength,
		"max_packet_size", "0, or from 65536 to 268435455")
	check(c.ConnectTimeout > 0, "connect_timeout", "above 0")
	check(c.MaxKeepAlive >= 0 && c.MaxKeepAlive <= 65_535*time.Second && c.MaxKeepAlive%time.Second == 0,
		"max_keep_alive", "whole seconds up to 18h12m15s")
	check(c.OutputLimit >= 4096, "output_limit", "at least 4096")
	check(c.MaxSubscriptions > 0, "max_subscriptions", "at least 1")
	check(c.SysInterval == 0 || c.SysInterval >= time.Second, "sys_interval", "0, or at least 1s")
	return errors.Join(errs...)
}

// packetLimit is the largest packet taken by a broker with the given largest message.
func (c Config) packetLimit(maxMessage int) int {
	if c.MaxPacketSize > 0 {
		return c.MaxPacketSize
	}
	return min(max(maxMessage, 0)+packetOverhead, wire.MaxLength)
}

// sessionExpiry is how long a session outlives its connection, and whether
// that differs from what the client asked for.
func (c Config) sessionExpiry(p *wire.Connect) (d time.Duration, changed bool) {
	if !p.V5 {
		if p.Clean {
			return 0, false
		}
		return c.SessionExpiry, false
	}
	return c.capExpiry(p.SessionExpiry)
}

func (c Config) capExpiry(seconds uint32) (d time.Duration, changed bool) {
	d = time.Duration(seconds) * time.Second
	if seconds == forever {
		d = core.Forever
	}
	if c.MaxSessionExpiry > 0 && d > c.MaxSessionExpiry {
		return c.MaxSessionExpiry, true
	}
	return d, false
}

// forever is the session expiry interval that never ends.
const forever = 0xffff_ffff
