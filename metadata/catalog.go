package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// CatalogConfig says where the catalog lives and where its local copy is kept.
type CatalogConfig struct {
	// Cluster is the name of the cluster: keys are under /tidegate/<cluster>/.
	Cluster string
	// FS and Path place the local copy, from which the catalog serves when the
	// store can't be reached at the start. It holds password hashes: its
	// directory is made for the owner alone. No copy is kept without a Path.
	FS   vfs.FS
	Path string
	// SaveDelay is how long the copy waits for further changes before it is
	// written. Default 200 ms.
	SaveDelay time.Duration
	// Timeout bounds each write, and the first read at the start, when the
	// caller's context has no earlier deadline. Default 5 s.
	Timeout time.Duration
}

// DefaultCatalogConfig returns a configuration that keeps no local copy.
func DefaultCatalogConfig() CatalogConfig {
	return CatalogConfig{Cluster: "default", SaveDelay: 200 * time.Millisecond, Timeout: 5 * time.Second}
}

// Validate tells what is wrong with the configuration.
func (c *CatalogConfig) Validate() error {
	switch {
	case c.Cluster == "":
		return errors.New("catalog: no cluster name")
	case c.Path != "" && c.FS == nil:
		return errors.New("catalog: a path for the local copy without a file system")
	case c.SaveDelay < 0 || c.Timeout < 0:
		return errors.New("catalog: negative time")
	}
	return nil
}

func (c *CatalogConfig) withDefaults() CatalogConfig {
	out, def := *c, DefaultCatalogConfig()
	if out.SaveDelay == 0 {
		out.SaveDelay = def.SaveDelay
	}
	if out.Timeout == 0 {
		out.Timeout = def.Timeout
	}
	return out
}

// Catalog is the typed view of a Store: an in-memory snapshot kept current by
// a watch, and writes that return once the snapshot (and the listener) has
// them. All methods are safe for concurrent use.
type Catalog struct {
	cfg   CatalogConfig
	keys  keys
	store Store
	log   *slog.Logger

	mu        sync.RWMutex
	view      *view         // under mu
	delivered Revision      // under mu; view and listener have this revision
	advanced  chan struct{} // under mu; closed when delivered moves
	connected bool          // under mu; the watch runs
	// Under mu: why values that were met can't be read, the first of them.
	unreadable []error

	// deliver is held while a change is made and the listener told, so that the
	// listener sees every revision once and in order. It is taken before mu.
	deliver  sync.Mutex
	listener func([]Change) // under deliver

	// access is view.access, for readers without the lock.
	access atomic.Uint64

	dirty   chan struct{} // capacity 1; full means that a save is due already
	stop    context.CancelFunc
	stopped <-chan struct{}
	running sync.WaitGroup
}

// Status is how the catalog stands.
type Status struct {
	Revision  Revision // what the snapshot and the listener have
	Connected bool     // the snapshot is current; writes are possible
	// Unreadable tells of stored values that this version can't read, at most
	// 100 of them. The objects stay as they were before.
	Unreadable []error
}

const maxUnreadable = 100

// OpenCatalog reads the catalog of a cluster and starts to follow it. When the
// store can't be reached it serves from the local copy and catches up later;
// without a copy it returns an error that wraps ErrUnavailable. The context
// bounds the opening alone.
func OpenCatalog(ctx context.Context, store Store, cfg CatalogConfig, log *slog.Logger) (*Catalog, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Catalog{
		cfg:      cfg.withDefaults(),
		keys:     newKeys(cfg.Cluster),
		store:    store,
		log:      log,
		advanced: make(chan struct{}),
		dirty:    make(chan struct{}, 1),
	}
	c.view = newView(c.keys)
	copyErr := c.loadCopy()
	err := c.reload(ctx)
	switch {
	case err == nil && len(c.unreadable) > 0:
		return nil, fmt.Errorf("open catalog: %w", errors.Join(c.unreadable...))
	case err == nil:
		c.connected = true
	case !errors.Is(err, ErrUnavailable):
		return nil, fmt.Errorf("open catalog: %w", err)
	case copyErr != nil:
		return nil, fmt.Errorf("open catalog: %w; no local copy: %w", err, copyErr)
	default:
		log.Warn("metadata store not reachable, serving from the local copy",
			slog.Int64("revision", int64(c.view.rev)), slog.Any("error", err))
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop, c.stopped = stop, following.Done()
	c.running.Go(func() { c.follow(following) })
	if cfg.Path != "" {
		c.running.Go(func() { c.keepCopy(following) })
	}
	return c, nil
}

// Close stops the watch and saves the local copy. The Store stays open: it is
// its opener's. Close is idempotent.
func (c *Catalog) Close() error {
	c.stop()
	c.running.Wait()
	return nil
}

// Status tells how the catalog stands.
func (c *Catalog) Status() Status {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Status{Revision: c.delivered, Connected: c.connected, Unreadable: slices.Clone(c.unreadable)}
}

// Listen sets the listener, calls it with all namespaces, policies,
// exchanges, queues and bindings there are (in that order), and from then on with each change
// before any write that caused it returns. At most one listener. It is called
// from one goroutine at a time; it may look things up in the catalog, but a
// write in it would wait for itself for ever.
func (c *Catalog) Listen(fn func([]Change)) {
	c.deliver.Lock()
	defer c.deliver.Unlock()
	c.mu.RLock()
	all := c.view.all()
	c.mu.RUnlock()
	fn(all)
	c.listener = fn
}
