package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/metadata"
)

// Watch calls fn with each revision later than from, with an empty slice for
// those that changed nothing under the prefix. fn is called without locks.
func (s *Store) Watch(
	ctx context.Context, prefix string, from metadata.Revision, fn func(metadata.Revision, []metadata.Event),
) error {
	for {
		next, advanced, err := s.after(ctx, from)
		if err != nil {
			return err
		}
		for _, c := range next {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fn(c.rev, clone(under(prefix, c.events)))
			from = c.rev
		}
		if len(next) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-advanced:
		}
	}
}

// after returns the changes later than from and a channel that is closed when
// it is worth to look again.
func (s *Store) after(ctx context.Context, from metadata.Revision) ([]change, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return nil, nil, err
	}
	if from < s.compacted || from > s.rev {
		return nil, nil, fmt.Errorf("watch from revision %d: %w", from, metadata.ErrCompacted)
	}
	i, _ := slices.BinarySearchFunc(s.history, from+1, func(c change, rev metadata.Revision) int {
		return int(c.rev - rev)
	})
	return slices.Clone(s.history[i:]), s.advanced, nil
}

func under(prefix string, events []metadata.Event) []metadata.Event {
	var out []metadata.Event
	for _, e := range events {
		if strings.HasPrefix(e.Key, prefix) {
			out = append(out, e)
		}
	}
	return out
}
