// Package etcd is the metadata store on etcd: a client of any cluster, and a
// server inside the process for installations that have none, see
// [StartEmbedded]. No other package of Tidegate imports etcd.
package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tidegate/tidegate/metadata"
)

// Store is a [metadata.Store] on an etcd cluster of version 3.5.8 or later
// (earlier ones announce progress of a watch before its events). All methods
// are safe for concurrent use.
type Store struct {
	cfg    Config
	client *clientv3.Client

	closed    chan struct{}
	closeOnce sync.Once
	closeErr  error // written before closed is closed
}

var _ metadata.Store = (*Store)(nil)

// Open makes a store on the cluster of the configuration. It does not wait for
// the cluster: an unreachable one shows in the calls, as metadata.ErrUnavailable.
func Open(cfg Config, log *slog.Logger) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		Username:             cfg.Username,
		Password:             string(cfg.Password),
		DialTimeout:          cfg.RequestTimeout,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		Logger:               zapLogger(log, errorLevel()),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd client for %v: %w", cfg.Endpoints, err)
	}
	return &Store{cfg: cfg, client: client, closed: make(chan struct{})}, nil
}

// Close ends the watches and the connections. It is idempotent.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		if err := s.client.Close(); err != nil {
			s.closeErr = fmt.Errorf("close etcd client: %w", err)
		}
	})
	return s.closeErr
}

// Get returns one key, or metadata.ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (metadata.KV, error) {
	var kv metadata.KV
	err := s.call(ctx, "get "+key, func(ctx context.Context) error {
		resp, err := s.client.Get(ctx, key)
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return metadata.ErrNotFound
		}
		kv = convert(resp.Kvs[0])
		return nil
	})
	return kv, err
}

// Range returns up to limit keys with the prefix that are greater than after,
// as of revision at, where 0 means now.
func (s *Store) Range(
	ctx context.Context, prefix, after string, limit int, at metadata.Revision,
) ([]metadata.KV, metadata.Revision, error) {
	if limit <= 0 || at < 0 {
		return nil, 0, fmt.Errorf("range %q limit %d at revision %d: %w", prefix, limit, at, metadata.ErrInvalid)
	}
	from := prefix
	if after >= prefix && after != "" {
		from = after + "\x00"
	}
	end := clientv3.GetPrefixRangeEnd(prefix)
	if prefix == "" {
		end = "\x00" // etcd's word for "to the last key"
		from = max(from, "\x00")
	}
	if end != "\x00" && from >= end {
		// after lies beyond the prefix. Only the revision is left to ask for.
		from, end = prefix, prefix+"\x00"
	}
	var kvs []metadata.KV
	rev := at
	err := s.call(ctx, "range "+prefix, func(ctx context.Context) error {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(end),
			clientv3.WithLimit(int64(limit)), clientv3.WithRev(int64(at)))
		if err != nil {
			return err
		}
		if at == 0 {
			rev = metadata.Revision(resp.Header.Revision)
		}
		for _, kv := range resp.Kvs {
			if key := string(kv.Key); key > after || after == "" {
				kvs = append(kvs, convert(kv))
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return kvs, rev, nil
}

// Txn applies all ops if all compares hold. After metadata.ErrUnavailable it
// is not known whether they were applied.
func (s *Store) Txn(
	ctx context.Context, compares []metadata.Compare, ops []metadata.Op,
) (bool, metadata.Revision, error) {
	conditions := make([]clientv3.Cmp, len(compares))
	for i, c := range compares {
		conditions[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", int64(c.Revision))
	}
	writes := make([]clientv3.Op, len(ops))
	for i, op := range ops {
		switch {
		case op.Value != nil:
			writes[i] = clientv3.OpPut(op.Key, string(op.Value))
		case op.Prefix:
			writes[i] = clientv3.OpDelete(op.Key, clientv3.WithPrefix())
		default:
			writes[i] = clientv3.OpDelete(op.Key)
		}
	}
	var applied bool
	var rev metadata.Revision
	err := s.call(ctx, "transaction", func(ctx context.Context) error {
		resp, err := s.client.Txn(ctx).If(conditions...).Then(writes...).Commit()
		if err != nil {
			return err
		}
		applied, rev = resp.Succeeded, metadata.Revision(resp.Header.Revision)
		return nil
	})
	return applied, rev, err
}

// Compact forgets the history up to rev. An embedded server compacts itself;
// this is for tools and tests.
func (s *Store) Compact(ctx context.Context, rev metadata.Revision) error {
	return s.call(ctx, "compact", func(ctx context.Context) error {
		_, err := s.client.Compact(ctx, int64(rev))
		return err
	})
}
