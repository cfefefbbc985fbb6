package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// endHeld gives up all that a namespace holds. It is for a namespace that is about to be
// deleted, or was: one that is made later under its name must not get it.
func (b *Broker) endHeld(ctx context.Context, namespace string) error {
	for _, s := range b.shards {
		if err := b.endHeldOf(ctx, s, namespace); err != nil {
			return fmt.Errorf("end held messages: %w", b.storageError(err))
		}
	}
	return nil
}

func (b *Broker) endHeldOf(ctx context.Context, s *shard.Shard, namespace string) error {
	var hint shard.Hint
	var m record.Message
	var last record.LSN
	for s.Held(namespace) > 0 {
		lsns, err := s.HeldRecords(last, heldAtOnce)
		if err != nil || len(lsns) == 0 {
			return err
		}
		ended := record.LSN(0)
		for _, lsn := range lsns {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := s.Record(lsn, &hint, &m)
			if err == nil && string(m.Namespace) == namespace {
				var at record.LSN
				at, err = s.CancelHeld(lsn, namespace, string(m.Schedule))
				ended = max(ended, at)
			}
			if err != nil && !errors.Is(err, shard.ErrNotFound) {
				return err
			}
		}
		if err := s.Wait(ctx, ended); err != nil {
			return err
		}
		last = lsns[len(lsns)-1]
	}
	return nil
}

// heldAtOnce is how many held messages are looked at together.
const heldAtOnce = 4096
