package amqp

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tidegate/tidegate/core/clock"
)

// Config holds the settings of the AMQP server.
type Config struct {
	// Product and Version are what the server calls itself. Programs decide
	// by them what it can do, so they must not claim to be another one.
	Product string `yaml:"-"`
	Version string `yaml:"-"`
	// ClusterName is shown to clients.
	ClusterName string `yaml:"-"`
	// Heartbeat is the interval that is proposed to clients; 0 proposes none.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// FrameMax is the largest frame in bytes that is accepted and sent, 8192 or more.
	FrameMax uint32 `yaml:"frame_max"`
	// ChannelMax is how many channels a connection may open.
	ChannelMax uint16 `yaml:"channel_max"`
	// MaxConsumers is how many consumers a channel may have.
	MaxConsumers int `yaml:"max_consumers"`
	// MaxUnacked is how many deliveries a channel may leave unacknowledged
	// before it gets no more, whatever prefetch it asked for.
	MaxUnacked int `yaml:"max_unacked"`
	// ConsumerTimeout is how long a delivery may be unacknowledged before its
	// channel is closed, on quorum queues of which neither they nor policies say
	// something else; 0 is for ever.
	ConsumerTimeout time.Duration `yaml:"consumer_timeout"`
	// LoginTimeout is how long a client may take from its connect to connection.open.
	LoginTimeout time.Duration `yaml:"login_timeout"`
	// CloseTimeout is how long the answer to a connection.close is waited for.
	CloseTimeout time.Duration `yaml:"close_timeout"`
	// Clock is the time; nil is the system's.
	Clock clock.Clock `yaml:"-"`
}

// minFrameMax is the smallest frame size that a client may settle on. The
// standard allows 4096, which old clients ask for.
const minFrameMax = 4096

// DefaultConfig returns the settings that hold where none are given.
func DefaultConfig() Config {
	return Config{
		Product:         "Tidegate",
		Version:         "0.0.0",
		Heartbeat:       60 * time.Second,
		FrameMax:        128 << 10,
		ChannelMax:      2047,
		MaxConsumers:    10_000,
		MaxUnacked:      1 << 20,
		ConsumerTimeout: 30 * time.Minute,
		LoginTimeout:    10 * time.Second,
		CloseTimeout:    30 * time.Second,
	}
}

// Validate tells what is wrong with the settings.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Product != "" && c.Version != "", "product and version must be set")
	check(c.Heartbeat >= 0 && c.Heartbeat <= math.MaxUint16*time.Second, "heartbeat %v is not between 0 and 65535s", c.Heartbeat)
	check(c.Heartbeat%time.Second == 0, "heartbeat %v is not in whole seconds", c.Heartbeat)
	check(c.FrameMax >= 8192 && c.FrameMax <= 16<<20, "frame_max %d is not between 8192 and 16777216", c.FrameMax)
	check(c.ChannelMax > 0, "channel_max is 0")
	check(c.MaxConsumers > 0, "max_consumers %d is not positive", c.MaxConsumers)
	check(c.MaxUnacked > 0, "max_unacked %d is not positive", c.MaxUnacked)
	check(c.ConsumerTimeout >= 0, "consumer_timeout %v is negative", c.ConsumerTimeout)
	check(c.LoginTimeout > 0, "login_timeout %v is not positive", c.LoginTimeout)
	check(c.CloseTimeout > 0, "close_timeout %v is not positive", c.CloseTimeout)
	return errors.Join(errs...)
}
