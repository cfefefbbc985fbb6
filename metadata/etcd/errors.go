package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegate/tidegate/metadata"
)

// call runs one request under the store's deadline and turns its error into
// one of package metadata.
func (s *Store) call(ctx context.Context, what string, request func(context.Context) error) error {
	if s.isClosed() {
		return fmt.Errorf("%s: %w", what, metadata.ErrClosed)
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	err := request(bounded)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case s.isClosed():
		return fmt.Errorf("%s: %w", what, metadata.ErrClosed)
	}
	return fmt.Errorf("%s: %w", what, translate(err))
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// translate maps an error of the client to a sentinel of package metadata and
// keeps its text. What is not known to be the request's fault counts as the
// cluster being away: trying again later is then the right answer.
func translate(err error) error {
	if errors.Is(err, metadata.ErrNotFound) {
		return err
	}
	sentinel := metadata.ErrUnavailable
	known := rpctypes.Error(err)
	switch {
	case errors.Is(known, rpctypes.ErrCompacted):
		sentinel = metadata.ErrCompacted
	case invalid(known):
		sentinel = metadata.ErrInvalid
	}
	return fmt.Errorf("%w: %w", sentinel, err)
}

// invalid reports whether the cluster refused the request for what it is.
func invalid(err error) bool {
	code := status.Code(err)
	if known, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		code = known.Code()
	}
	return code == codes.InvalidArgument || code == codes.OutOfRange
}

// convert copies a key and its value; an empty value stays apart from none.
func convert(kv *mvccpb.KeyValue) metadata.KV {
	value := kv.Value
	if value == nil {
		value = []byte{}
	}
	return metadata.KV{Key: string(kv.Key), Value: value, ModRevision: metadata.Revision(kv.ModRevision)}
}
