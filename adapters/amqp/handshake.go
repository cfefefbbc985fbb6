package amqp

import (
	"bytes"
	"runtime"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/gateway"
)

// capabilities are what the client says it understands.
type capabilities struct {
	failureClose bool // a connection.close for a refused login
	cancelNotify bool // basic.cancel from the server
	blocked      bool // connection.blocked
}

// credentials are what a login mechanism carried. The user of a certificate has
// no password.
type credentials struct {
	user, password string
	certified      bool
}

// limits are what tune and tune-ok settled.
type limits struct {
	channelMax uint16
	frameMax   uint32
	heartbeat  time.Duration
}

// knownProtocol tells whether the header asks for something that is served as
// 0-9-1: that itself, or 0-9 as its first clients wrote it.
func knownProtocol(header []byte) bool {
	return string(header) == wire.Protocol || string(header) == "AMQP\x01\x01\x00\x09"
}

// The login mechanisms.
const (
	mechanismPlain     = "PLAIN"
	mechanismAMQPlain  = "AMQPLAIN"
	mechanismExternal  = "EXTERNAL"
	passwordMechanisms = mechanismPlain + " " + mechanismAMQPlain
)

// mechanisms are those that a client can log in with, in the order of
// preference. EXTERNAL needs a certificate that was verified.
func mechanisms(certified bool) string {
	if certified {
		return passwordMechanisms + " " + mechanismExternal
	}
	return passwordMechanisms
}

// start is the server's first method. It advertises what works, nothing else.
func start(cfg *Config, certified bool) *wire.ConnectionStart {
	capability := func(name string) wire.Field { return wire.Field{Name: name, Value: true} }
	properties := []wire.Field{
		{Name: "capabilities", Value: []wire.Field{
			capability("publisher_confirms"),
			capability("exchange_exchange_bindings"),
			capability("basic.nack"),
			capability("consumer_cancel_notify"),
			capability("connection.blocked"),
			capability("consumer_priorities"),
			capability("authentication_failure_close"),
			capability("per_consumer_qos"),
			capability("direct_reply_to"),
		}},
		{Name: "cluster_name", Value: cfg.ClusterName},
		{Name: "copyright", Value: "The Tidegate authors"},
		{Name: "information", Value: "Licensed under the Apache License 2.0"},
		{Name: "platform", Value: runtime.Version()},
		{Name: "product", Value: cfg.Product},
		{Name: "version", Value: cfg.Version},
	}
	return &wire.ConnectionStart{
		Major:            0,
		Minor:            9,
		ServerProperties: wire.EncodeTable(properties),
		Mechanisms:       []byte(mechanisms(certified)),
		Locales:          []byte("en_US"),
	}
}

// readCapabilities looks into the client's properties without decoding them all.
func readCapabilities(properties wire.Table) (caps capabilities) {
	for it := properties.Iter(); it.Next(); {
		if string(it.Name()) != "capabilities" || it.Tag() != 'F' {
			continue
		}
		for in := wire.Table(it.Raw()).Iter(); in.Next(); {
			on := in.Tag() == 't' && in.Raw()[0] != 0
			switch string(in.Name()) {
			case "authentication_failure_close":
				caps.failureClose = on
			case "consumer_cancel_notify":
				caps.cancelNotify = on
			case "connection.blocked":
				caps.blocked = on
			}
		}
		return caps
	}
	return caps
}

// readLogin reads what the mechanism carried. That of EXTERNAL says nothing: the
// certificate counts.
func readLogin(conn *gateway.Conn, mechanism string, response []byte) (credentials, error) {
	switch mechanism {
	case mechanismPlain:
		parts := bytes.Split(response, []byte{0})
		if len(parts) != 3 || len(parts[0]) != 0 {
			return credentials{}, refuse(codeSyntaxError, "response of mechanism PLAIN is malformed")
		}
		return credentials{user: string(parts[1]), password: string(parts[2])}, nil
	case mechanismAMQPlain:
		table, err := wire.ParseTable(response)
		if err != nil {
			return credentials{}, refuse(codeSyntaxError, "response of mechanism AMQPLAIN is malformed")
		}
		user, okUser := textOf(table, "LOGIN")
		password, okPassword := textOf(table, "PASSWORD")
		if !okUser || !okPassword {
			return credentials{}, refuse(codeSyntaxError, "response of mechanism AMQPLAIN lacks LOGIN or PASSWORD")
		}
		return credentials{user: user, password: password}, nil
	case mechanismExternal:
		if !conn.Certified {
			return credentials{}, refuse(codeCommandInvalid, "invalid authentication mechanism '%s'", mechanism)
		}
		return credentials{user: conn.Identity, certified: true}, nil
	}
	return credentials{}, refuse(codeCommandInvalid, "unknown authentication mechanism '%s'", mechanism)
}

// textOf returns the string or bytes of a field.
func textOf(t wire.Table, name string) (string, bool) {
	switch v, _ := t.Lookup(name); v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// negotiate checks the client's tune-ok against what was proposed. Heartbeats
// are the client's choice.
func negotiate(cfg *Config, ok *wire.ConnectionTuneOK) (limits, error) {
	if ok.FrameMax != 0 && ok.FrameMax < minFrameMax {
		return limits{}, refuse(codeNotAllowed,
			"negotiated frame_max = %d is lower than the minimum allowed value (%d)", ok.FrameMax, minFrameMax)
	}
	if ok.FrameMax == 0 || ok.FrameMax > cfg.FrameMax {
		return limits{}, refuse(codeNotAllowed,
			"negotiated frame_max = %d is higher than the maximum allowed value (%d)", ok.FrameMax, cfg.FrameMax)
	}
	if ok.ChannelMax == 0 || ok.ChannelMax > cfg.ChannelMax {
		value := strconv.Itoa(int(ok.ChannelMax))
		if ok.ChannelMax == 0 {
			value = "0 (no limit)"
		}
		return limits{}, refuse(codeNotAllowed,
			"negotiated channel_max = %s is higher than the maximum allowed value (%d)", value, cfg.ChannelMax)
	}
	return limits{
		channelMax: ok.ChannelMax,
		frameMax:   ok.FrameMax,
		heartbeat:  time.Duration(ok.Heartbeat) * time.Second,
	}, nil
}
