package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/metadata"
)

// Range returns up to limit keys with the prefix that are greater than after,
// as of revision at, where 0 means now.
func (s *Store) Range(
	ctx context.Context, prefix, after string, limit int, at metadata.Revision,
) ([]metadata.KV, metadata.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return nil, 0, err
	}
	if at == 0 {
		at = s.rev
	}
	switch {
	case limit <= 0 || at < 0 || at > s.rev:
		return nil, 0, fmt.Errorf("range %q limit %d at revision %d: %w", prefix, limit, at, metadata.ErrInvalid)
	case at < s.compacted:
		return nil, 0, fmt.Errorf("range %q at revision %d: %w", prefix, at, metadata.ErrCompacted)
	}
	var kvs []metadata.KV
	for _, key := range s.keysWith(prefix, after) {
		if len(kvs) == limit {
			break
		}
		if v, ok := s.at(key, at); ok {
			kvs = append(kvs, metadata.KV{Key: key, Value: bytes.Clone(v.value), ModRevision: v.rev})
		}
	}
	return kvs, at, nil
}

// keysWith returns the keys that have the prefix and are greater than after,
// among them keys that were deleted.
func (s *Store) keysWith(prefix, after string) []string {
	first, _ := slices.BinarySearch(s.keys, prefix)
	keys := s.keys[first:]
	if after >= prefix {
		i, found := slices.BinarySearch(keys, after)
		if found {
			i++
		}
		keys = keys[i:]
	}
	for i, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			return keys[:i]
		}
	}
	return keys
}
