package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// EmbeddedConfig says how to run the metadata server inside the process.
type EmbeddedConfig struct {
	// Dir is the data directory, made with access for its owner alone. One
	// process at a time may use it.
	Dir string
	// Quota bounds the database in bytes. Default 2 GiB.
	Quota int64
	// Maintenance is how often the size and the alarms are looked at, and the
	// history before the last look is forgotten. Default 10 s.
	Maintenance time.Duration
	// ReadyTimeout bounds the start. Default 30 s, for slow disks.
	ReadyTimeout time.Duration
}

// DefaultEmbeddedConfig returns a configuration that lacks only the directory.
func DefaultEmbeddedConfig() EmbeddedConfig {
	return EmbeddedConfig{Quota: 2 << 30, Maintenance: 10 * time.Second, ReadyTimeout: 30 * time.Second}
}

// Validate tells what is wrong with the configuration.
func (c *EmbeddedConfig) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("embedded etcd: no data directory")
	case c.Quota < 0 || c.Maintenance < 0 || c.ReadyTimeout < 0:
		return errors.New("embedded etcd: negative quota or time")
	}
	return nil
}

func (c *EmbeddedConfig) withDefaults() EmbeddedConfig {
	out, def := *c, DefaultEmbeddedConfig()
	if out.Quota == 0 {
		out.Quota = def.Quota
	}
	if out.Maintenance == 0 {
		out.Maintenance = def.Maintenance
	}
	if out.ReadyTimeout == 0 {
		out.ReadyTimeout = def.ReadyTimeout
	}
	return out
}

// Embedded is an etcd server of one member inside the process. It listens on a
// unix socket that only the owner of the data directory can reach, and on no
// network address.
type Embedded struct {
	server   *embed.Etcd
	level    zap.AtomicLevel  // of what the server may log
	client   *clientv3.Client // of the keeper
	endpoint string
	lock     io.Closer
	cleanup  func() error // removes a socket directory outside the data directory

	stop      context.CancelFunc
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// StartEmbedded starts the server and returns when it serves. The context
// bounds the start alone; Close stops the server.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig, log *slog.Logger) (*Embedded, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	lock, err := vfs.Default.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: lock %s: %w", dir, err)
	}
	e := &Embedded{lock: lock, cleanup: func() error { return nil }}
	if err := e.start(ctx, cfg, log); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded etcd in %s: %w", dir, err), e.Close())
	}
	return e, nil
}

// Endpoint is what [Config.Endpoints] takes to reach the server.
func (e *Embedded) Endpoint() string { return e.endpoint }

// Close stops the server and waits for it. It is idempotent. Close the stores
// first: the server gives open watches some seconds to end.
func (e *Embedded) Close() error {
	e.closeOnce.Do(func() {
		if e.stop != nil {
			e.stop()
		}
		e.running.Wait()
		var errs []error
		if e.client != nil {
			errs = append(errs, ignoreCanceled(e.client.Close()))
		}
		if e.server != nil {
			e.level.SetLevel(zapcore.DPanicLevel) // a server reports its own stop as errors
			e.server.Close()
		}
		e.closeErr = errors.Join(append(errs, e.cleanup(), e.lock.Close())...)
	})
	return e.closeErr
}

// ignoreCanceled passes on all errors but the one that the client's own Close
// causes.
func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (e *Embedded) start(ctx context.Context, cfg EmbeddedConfig, log *slog.Logger) error {
	socket, err := e.socketPath(cfg.Dir)
	if err != nil {
		return err
	}
	e.endpoint = "unix://" + socket
	e.level = errorLevel() // the advice that a start gives as warnings is for operators of clusters
	settings := serverSettings(cfg, socket)
	settings.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(log, e.level))
	shrinkLog()
	server, err := embed.StartEtcd(settings)
	if err != nil {
		return err
	}
	e.server = server
	ready, cancel := context.WithTimeout(ctx, cfg.ReadyTimeout)
	defer cancel()
	select {
	case <-server.Server.ReadyNotify():
	case <-server.Server.StopNotify():
		return errors.New("server stopped while it started")
	case err := <-server.Err():
		return err
	case <-ready.Done():
		return fmt.Errorf("not ready: %w", ready.Err())
	}
	e.level.SetLevel(zapcore.WarnLevel)
	e.client, err = clientv3.New(clientv3.Config{Endpoints: []string{e.endpoint}, Logger: zapLogger(log, errorLevel())})
	if err != nil {
		return err
	}
	maintained, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	k := &keeper{client: e.client, endpoint: e.endpoint, quota: cfg.Quota, log: log}
	e.running.Go(func() { k.run(maintained, cfg.Maintenance) })
	e.running.Go(func() { watchFailures(maintained, server, log) })
	return nil
}

// watchFailures logs the errors of a server that no longer serves. The broker
// goes on from its snapshot meanwhile.
func watchFailures(ctx context.Context, server *embed.Etcd, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-server.Server.StopNotify():
			log.Error("embedded etcd stopped by itself")
			return
		case err := <-server.Err():
			log.Error("embedded etcd stopped serving", slog.Any("error", err))
			return
		}
	}
}

// longestSocket is what fits in a socket address on every system.
const longestSocket = 100

// socketPath places the socket in the data directory, or in a directory of its
// own when that path is too long for a socket.
func (e *Embedded) socketPath(dir string) (string, error) {
	if path := filepath.Join(dir, "client.sock"); len(path) <= longestSocket {
		return path, nil
	}
	short, err := os.MkdirTemp("", "tidegate-etcd-")
	if err != nil {
		return "", err
	}
	e.cleanup = func() error { return os.RemoveAll(short) }
	return filepath.Join(short, "client.sock"), nil
}

// peerURL is the address that the only member has for peers. Nothing listens
// on it; it is part of the member's identity and must never change.
var peerURL = url.URL{Scheme: "http", Host: "localhost:2380"}

// shrinkLog makes etcd's log files an eighth of their usual size, as a start
// reads the file that has the last snapshot as a whole. The size is a variable
// of the process, so it is set once, before there is any server.
var shrinkLog = sync.OnceFunc(func() { wal.SegmentSizeBytes = 8 << 20 })

func serverSettings(cfg EmbeddedConfig, socket string) *embed.Config {
	client := url.URL{Scheme: "unix", Path: socket}
	s := embed.NewConfig()
	s.Name = "tidegate"
	s.Dir = cfg.Dir
	s.TickMs, s.ElectionMs = 10, 100
	s.ListenPeerUrls, s.AdvertisePeerUrls = nil, []url.URL{peerURL}
	s.ListenClientUrls, s.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	s.InitialCluster = s.InitialClusterFromName(s.Name)
	s.EnableGRPCGateway = false
	s.QuotaBackendBytes = cfg.Quota
	s.AutoCompactionMode, s.AutoCompactionRetention = embed.CompactorModePeriodic, "1m"
	// A lone member has no follower to catch up: keep little of the log, which
	// would otherwise hold thousands of offset batches in memory and replay them.
	s.SnapshotCount, s.SnapshotCatchUpEntries = 250, 20
	s.MaxSnapFiles, s.MaxWalFiles = 2, 2
	s.WarningApplyDuration = time.Second
	return s
}
