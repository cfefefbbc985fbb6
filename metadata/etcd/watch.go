package etcd

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tidegate/tidegate/metadata"
)

// probesMissed is how many intervals without any answer end a watch.
const probesMissed = 3

// Watch calls fn with the changes later than from. The client below resumes a
// broken connection at the right revision by itself; a cluster that stays away
// for three probe intervals ends the watch with metadata.ErrUnavailable, and
// one that is older than from ends it with metadata.ErrCompacted.
func (s *Store) Watch(
	ctx context.Context, prefix string, from metadata.Revision, fn func(metadata.Revision, []metadata.Event),
) error {
	if err := s.notOlder(ctx, prefix, from); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	// From the known revision on, not from the next: etcd answers no request for
	// progress while a watch begins later than its newest revision, and a cluster
	// that nobody writes to would look like one that is away. deliver passes over
	// what is known. Revision 0 means "from now" to etcd.
	responses := s.client.Watch(watching, prefix, clientv3.WithPrefix(),
		clientv3.WithRev(max(int64(from), 1)), clientv3.WithCreatedNotify())
	probe := time.NewTicker(s.cfg.ProbeInterval)
	defer probe.Stop()
	silent := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return fmt.Errorf("watch %s: %w", prefix, metadata.ErrClosed)
		case <-probe.C:
			silent++
			if silent > probesMissed {
				return fmt.Errorf("watch %s: no answer in %v: %w",
					prefix, probesMissed*s.cfg.ProbeInterval, metadata.ErrUnavailable)
			}
			if err := s.requestProgress(watching); err != nil {
				return fmt.Errorf("watch %s: %w", prefix, translate(err))
			}
		case resp, open := <-responses:
			if !open {
				return s.watchEnd(ctx, prefix)
			}
			if err := resp.Err(); err != nil {
				return fmt.Errorf("watch %s from revision %d: %w", prefix, from, translate(err))
			}
			silent = 0
			next, err := deliver(&resp, from, fn)
			if err != nil {
				return fmt.Errorf("watch %s: %w", prefix, err)
			}
			from = next
		}
	}
}

// requestProgress asks for a progress notification. The client hands the
// request to its stream's goroutine, which is busy while the connection is
// down, hence the deadline; that it ran out is found by the missing answer.
func (s *Store) requestProgress(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, s.cfg.ProbeInterval/2)
	defer cancel()
	err := s.client.RequestProgress(bounded)
	if bounded.Err() != nil {
		return nil
	}
	return err
}

// notOlder finds a cluster that has not reached the revision that was already
// seen, as after a restore from a backup: its watch would wait in silence.
func (s *Store) notOlder(ctx context.Context, prefix string, from metadata.Revision) error {
	_, now, err := s.Range(ctx, prefix, "", 1, 0)
	if err != nil {
		return err
	}
	if now < from {
		return fmt.Errorf("watch %s from revision %d of a store at %d: %w", prefix, from, now, metadata.ErrCompacted)
	}
	return nil
}

func (s *Store) watchEnd(ctx context.Context, prefix string) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.isClosed():
		return fmt.Errorf("watch %s: %w", prefix, metadata.ErrClosed)
	}
	return fmt.Errorf("watch %s ended: %w", prefix, metadata.ErrUnavailable)
}

// deliver calls fn once for each revision of a response and returns the last.
func deliver(
	resp *clientv3.WatchResponse, from metadata.Revision, fn func(metadata.Revision, []metadata.Event),
) (metadata.Revision, error) {
	now := metadata.Revision(resp.Header.GetRevision())
	if len(resp.Events) == 0 {
		switch {
		case now < from:
			return from, fmt.Errorf("store went back from revision %d to %d: %w", from, now, metadata.ErrCompacted)
		case now > from && resp.IsProgressNotify():
			fn(now, nil)
			return now, nil
		}
		return from, nil
	}
	for start := 0; start < len(resp.Events); {
		rev := metadata.Revision(resp.Events[start].Kv.ModRevision)
		var events []metadata.Event
		for start < len(resp.Events) && metadata.Revision(resp.Events[start].Kv.ModRevision) == rev {
			events = append(events, event(resp.Events[start]))
			start++
		}
		if rev > from {
			fn(rev, events)
			from = rev
		}
	}
	return from, nil
}

func event(e *mvccpb.Event) metadata.Event {
	kv := convert(e.Kv)
	if e.Type == mvccpb.Event_DELETE {
		kv.Value = nil
	}
	return metadata.Event{Key: kv.Key, Value: kv.Value, Revision: kv.ModRevision}
}
