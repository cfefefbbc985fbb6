package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keeper keeps an embedded server below its quota. The quota counts the file,
// which only a defragmentation shrinks; a full one raises an alarm that stops
// all writes until it is disarmed.
type keeper struct {
	client   *clientv3.Client
	endpoint string
	quota    int64
	log      *slog.Logger

	last      int64 // revision at the last round
	compacted int64 // what was compacted up to
}

// maintenanceTimeout bounds one round of upkeep.
const maintenanceTimeout = time.Minute

func (k *keeper) run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := k.maintain(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("embedded etcd maintenance", slog.Any("error", err))
		}
	}
}

func (k *keeper) maintain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maintenanceTimeout)
	defer cancel()
	status, err := k.client.Status(ctx, k.endpoint)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	alarm, err := k.outOfSpace(ctx)
	switch {
	case err != nil:
		return err
	case alarm != nil:
		return k.recover(ctx, status.Header.Revision, alarm)
	case k.worthDefragmenting(status):
		return k.defragment(ctx)
	}
	return k.compact(ctx, status.Header.Revision)
}

// compact forgets what is older than the last round. Published offsets write
// much, over and over to the same keys: their history is what fills the quota.
func (k *keeper) compact(ctx context.Context, now int64) error {
	old := k.last
	k.last = now
	if old <= k.compacted {
		return nil
	}
	if _, err := k.client.Compact(ctx, old); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compact: %w", err)
	}
	k.compacted = old
	return nil
}

// worthDefragmenting looks for a file that is near the quota and mostly free.
func (k *keeper) worthDefragmenting(status *clientv3.StatusResponse) bool {
	return status.DbSize > k.quota/2 && status.DbSizeInUse < status.DbSize/2
}

func (k *keeper) outOfSpace(ctx context.Context) (*etcdserverpb.AlarmMember, error) {
	alarms, err := k.client.AlarmList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list alarms: %w", err)
	}
	for _, a := range alarms.Alarms {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			return a, nil
		}
	}
	return nil, nil
}

// recover makes room and, if there is some now, allows writes again.
func (k *keeper) recover(ctx context.Context, rev int64, alarm *etcdserverpb.AlarmMember) error {
	k.log.Warn("embedded etcd reached its quota", slog.Int64("quota_bytes", k.quota))
	// The revision may have been compacted already; the defragmentation counts.
	if _, err := k.client.Compact(ctx, rev, clientv3.WithCompactPhysical()); err != nil {
		k.log.Debug("compact full etcd", slog.Any("error", err))
	}
	if err := k.defragment(ctx); err != nil {
		return err
	}
	status, err := k.client.Status(ctx, k.endpoint)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if status.DbSize > k.quota*9/10 {
		return fmt.Errorf("database of %d bytes is too large for its quota of %d", status.DbSize, k.quota)
	}
	if _, err := k.client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm)); err != nil {
		return fmt.Errorf("disarm alarm: %w", err)
	}
	k.log.Info("embedded etcd has room again", slog.Int64("bytes", status.DbSize))
	return nil
}

func (k *keeper) defragment(ctx context.Context) error {
	if _, err := k.client.Defragment(ctx, k.endpoint); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	return nil
}
