package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/metadata"
)

// Txn applies all ops under one new revision if all compares hold.
func (s *Store) Txn(
	ctx context.Context, compares []metadata.Compare, ops []metadata.Op,
) (bool, metadata.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return false, 0, err
	}
	if err := checkTxn(compares, ops); err != nil {
		return false, 0, err
	}
	for _, c := range compares {
		v, ok := s.at(c.Key, s.rev)
		if (ok && v.rev != c.Revision) || (!ok && c.Revision != 0) {
			return false, s.rev, nil
		}
	}
	if events := s.events(ops); len(events) > 0 {
		s.apply(events)
	}
	return true, s.rev, nil
}

// checkTxn refuses what etcd refuses: too many ops, and two ops on one key.
func checkTxn(compares []metadata.Compare, ops []metadata.Op) error {
	if len(ops) > metadata.MaxTxnOps || len(compares) > metadata.MaxTxnOps {
		return fmt.Errorf("transaction of %d compares and %d ops: %w", len(compares), len(ops), metadata.ErrInvalid)
	}
	for i, put := range ops {
		if put.Value == nil {
			continue
		}
		if put.Key == "" {
			return fmt.Errorf("put of an empty key: %w", metadata.ErrInvalid)
		}
		for j, other := range ops {
			covers := other.Value == nil && other.Prefix && strings.HasPrefix(put.Key, other.Key)
			if i != j && (other.Key == put.Key || covers) {
				return fmt.Errorf("two ops on key %q in one transaction: %w", put.Key, metadata.ErrInvalid)
			}
		}
	}
	return nil
}

// events returns what the ops change as of the revision to come. A delete of
// what is not there changes nothing.
func (s *Store) events(ops []metadata.Op) []metadata.Event {
	rev := s.rev + 1
	var events []metadata.Event
	for _, op := range ops {
		switch {
		case op.Value != nil:
			events = append(events, metadata.Event{Key: op.Key, Value: append([]byte{}, op.Value...), Revision: rev})
		case op.Prefix:
			for _, key := range s.keysWith(op.Key, "") {
				events = s.appendDelete(events, key)
			}
		default:
			events = s.appendDelete(events, op.Key)
		}
	}
	return events
}

func (s *Store) appendDelete(events []metadata.Event, key string) []metadata.Event {
	_, exists := s.at(key, s.rev)
	if !exists || slices.ContainsFunc(events, func(e metadata.Event) bool { return e.Key == key }) {
		return events
	}
	return append(events, metadata.Event{Key: key, Revision: s.rev + 1})
}

func (s *Store) apply(events []metadata.Event) {
	s.rev++
	for _, e := range events {
		if _, known := s.versions[e.Key]; !known {
			i, _ := slices.BinarySearch(s.keys, e.Key)
			s.keys = slices.Insert(s.keys, i, e.Key)
		}
		s.versions[e.Key] = append(s.versions[e.Key], version{rev: s.rev, value: e.Value})
	}
	s.history = append(s.history, change{rev: s.rev, events: events})
	if len(s.history) > historyLimit {
		s.compact(s.history[historyLimit/2].rev)
	}
	s.wake()
}

// clone copies the values, since a watcher may keep what it is given.
func clone(events []metadata.Event) []metadata.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Value = bytes.Clone(out[i].Value)
	}
	return out
}
