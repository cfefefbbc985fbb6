package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/mqtt"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// serveCommand runs the broker.
type serveCommand struct {
	settings
	ReadyFile string `help:"Write the addresses and the process id to this file once clients are served." placeholder:"FILE" type:"path"`
}

// Run serves until ctx is done, and then closes everything in reverse order.
func (c *serveCommand) Run(ctx context.Context, con *console) (err error) {
	cfg, err := loadConfig(&c.settings)
	if err != nil {
		return err
	}
	log := newLogger(con.stderr, cfg)
	var started closers
	defer func() { err = errors.Join(err, started.close()) }()

	server, err := start(ctx, cfg, log, &started)
	if err != nil {
		if ctx.Err() != nil { // stopped while it started
			log.Info("stopped before the start was done", slog.Any("error", err))
			return nil
		}
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var serving errgroup.Group
	serving.Go(func() error { return server.Run(ctx) })
	announceErr := c.announce(con.stdout, cfg, server, &started)
	if announceErr != nil {
		stop()
	}
	err = errors.Join(announceErr, serving.Wait())
	log.Info("stopped serving")
	return err
}

// start opens all parts in order; started takes what has to be closed.
func start(ctx context.Context, cfg Config, log *slog.Logger, started *closers) (*gateway.Server, error) {
	if err := lockData(cfg.Data, started); err != nil {
		return nil, err
	}
	store, err := openStore(ctx, cfg, log, started)
	if err != nil {
		return nil, err
	}
	catalog, err := openCatalog(ctx, cfg, store, log)
	if err != nil {
		return nil, err
	}
	started.add("close catalog", catalog.Close)
	if err := bootstrap(ctx, cfg, catalog, log); err != nil {
		return nil, err
	}
	broker, err := core.Open(ctx, cfg.Core, core.Deps{
		Dir: filepath.Join(cfg.Data, "log"), FS: vfs.Default, Clock: clock.System, Rand: rand.Reader,
		Catalog: catalog, Log: log,
		DeadLetter: amqp.DeadLetter, Lent: mqtt.Lent,
		Formats: map[core.Format]core.PropertyDecoder{
			core.FormatMQTT: mqtt.Properties, core.FormatAMQP: amqp.Properties,
		},
		Memory: processMemory(cfg.Core.Pressure),
	})
	if err != nil {
		if _, misplaced := errors.AsType[*core.MisplacedError](err); misplaced {
			err = fmt.Errorf("%w; nothing is lost and nothing was changed", err)
		} else if errors.Is(err, record.ErrCorrupt) || errors.Is(err, commitlog.ErrBehind) {
			err = fmt.Errorf("%w; nothing was changed: see what is lost with: tidegate check --data %s, and give it up with: tidegate check --accept-loss --data %s",
				err, cfg.Data, cfg.Data)
		}
		return nil, fmt.Errorf("open broker: %w", err)
	}
	started.add("close broker", broker.Close)
	giveBackWhenIdle(ctx, started)
	return openGateway(ctx, cfg, broker, catalog, log, started)
}

// lockData makes the data directory and refuses one that another process uses.
func lockData(dir string, started *closers) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := vfs.Default.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return fmt.Errorf("data directory %s is in use by another process: %w", dir, err)
	}
	started.add("unlock data directory", lock.Close)
	return nil
}

// runReports has the MQTT server publish its $SYS topics until all is closed.
func runReports(ctx context.Context, server *mqtt.Server, started *closers) {
	ctx, stop := context.WithCancel(ctx)
	var reporting sync.WaitGroup
	reporting.Go(func() { server.Run(ctx) })
	started.add("end mqtt reports", func() error {
		stop()
		reporting.Wait()
		return nil
	})
}

// openGateway builds the protocols and opens all addresses.
func openGateway(ctx context.Context, cfg Config, broker *core.Broker, catalog *metadata.Catalog, log *slog.Logger, started *closers) (*gateway.Server, error) {
	auth := gateway.NewAuthenticator(cfg.Auth, catalog, log)
	cfg.AMQP.Version, cfg.AMQP.ClusterName = versionName(), cfg.Metadata.Cluster
	cfg.MQTT.Version = versionName()
	mqttServer := mqtt.New(broker, auth, cfg.MQTT, log.With(slog.String("part", "mqtt")))
	runReports(ctx, mqttServer, started)
	amqpServer := amqp.New(broker, auth, cfg.AMQP, log.With(slog.String("part", "amqp")))
	clients := gateway.NewClients(catalog)
	var server *gateway.Server
	management := newManagement(cfg, broker, catalog, clients, log, func() *gateway.Server { return server })
	server, err := gateway.New(cfg.Gateway, cfg.endpoints(mqttServer, amqpServer),
		gateway.Deps{
			Auth: auth, Clients: clients, Node: management.Node, Routes: management.Routes(),
			Stats: broker.Stats, Healthy: broker.Err, Log: log,
			Collectors: []prometheus.Collector{mqttCollector{mqttServer.Stats}},
		})
	if err != nil {
		return nil, err
	}
	if err := server.Listen(ctx); err != nil {
		return nil, err
	}
	return server, nil
}

// endpoints returns what is served where.
func (c Config) endpoints(mqttProtocol, amqpProtocol gateway.Protocol) []gateway.Endpoint {
	var endpoints []gateway.Endpoint
	for _, l := range c.Listen.endpoints() {
		if l.tls && !c.Gateway.TLS.Enabled() {
			continue
		}
		e := gateway.Endpoint{Name: l.name, TLS: l.tls, Addresses: l.addresses}
		switch l.name {
		case "mqtt", "mqtts":
			e.Kind, e.Protocol = gateway.Stream, mqttProtocol
		case "mqtt_ws", "mqtt_wss":
			e.Kind, e.Protocol = gateway.WebSocket, mqttProtocol
			e.Path, e.Subprotocol = "/mqtt", "mqtt"
		case "amqp", "amqps":
			e.Kind, e.Protocol = gateway.Stream, amqpProtocol
		case "http", "https":
			e.Kind = gateway.HTTP
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}

func newLogger(w io.Writer, cfg Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo // validate has refused it
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
