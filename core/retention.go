package core

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
)

// Arguments of stream queues.
const (
	argQueueType = "x-queue-type"
	argMaxAge    = "x-max-age"
	argMaxBytes  = "x-max-length-bytes"
	argCleanup   = "x-cleanup-policy"
	// The next two change nothing here, but are part of a declaration.
	argSegmentBytes = "x-stream-max-segment-size-bytes"
	argFilterBytes  = "x-stream-filter-size-bytes"
)

// cleanCompact is the cleanup policy that keeps the last message of each key.
const cleanCompact = "compact"

// retention is what the arguments of a stream queue ask for.
type retention struct {
	rules     shard.Retention
	compacted bool
}

// queueRetention reads the arguments of a queue; nil when it is no stream queue.
// ErrInvalid names the argument that is not understood.
func queueRetention(namespace string, spec *QueueSpec) (*retention, error) {
	if spec.queueType() != streamQueue {
		return nil, nil
	}
	invalid := func(arg, detail string) error {
		return &Error{
			Reason: ErrInvalid, Kind: "queue", Name: spec.Name, Namespace: namespace,
			Arg: arg, Got: text(spec.Args[arg]), Detail: detail,
		}
	}
	r := new(retention)
	switch {
	case !spec.Durable:
		return r, invalid(argQueueType, "a stream queue must be durable")
	case spec.Exclusive || spec.AutoDelete:
		return r, invalid(argQueueType, "a stream queue must not be exclusive or auto-delete")
	}
	if value, given := spec.Args[argMaxAge]; given {
		age, ok := value.(string)
		if r.rules.MaxAge, ok = parseAge(age, ok); !ok {
			return r, invalid(argMaxAge, "'"+text(value)+"' is not a number and one of Y, M, D, h, m, s")
		}
	}
	if value, given := spec.Args[argMaxBytes]; given {
		n, ok := value.(int64)
		if !ok || n <= 0 {
			return r, invalid(argMaxBytes, "'"+text(value)+"' is not a number of bytes above 0")
		}
		r.rules.MaxBytes = uint64(n)
	}
	if value, given := spec.Args[argCleanup]; given {
		policy, _ := value.(string)
		if !r.clean(policy) {
			return r, invalid(argCleanup, "'"+text(value)+"' is none of delete, compact, until-acked")
		}
	}
	return r, nil
}

// clean reads a cleanup policy: words separated by commas.
func (r *retention) clean(policy string) bool {
	for word := range strings.SplitSeq(policy, ",") {
		switch strings.TrimSpace(word) {
		case "delete": // what the other arguments say
		case cleanCompact:
			r.compacted = true
		case "until-acked":
			r.rules.UntilAcked = true
		default:
			return false
		}
	}
	return true
}

// ageUnits are the units of ages; a year has 365 days and a month 30.
var ageUnits = map[byte]time.Duration{
	'Y': 365 * 24 * time.Hour, 'M': 30 * 24 * time.Hour, 'D': 24 * time.Hour,
	'h': time.Hour, 'm': time.Minute, 's': time.Second,
}

// ParseAge reads an age as stream queues have it: a number and one of the units
// Y, M, D, h, m and s, as in 7D. It is false for all else, and for what is not
// above 0 or longer than 292 years.
func ParseAge(age string) (time.Duration, bool) { return parseAge(age, true) }

func parseAge(age string, ok bool) (time.Duration, bool) {
	if !ok || len(age) < 2 {
		return 0, false
	}
	unit := ageUnits[age[len(age)-1]]
	n, err := strconv.ParseUint(age[:len(age)-1], 10, 63)
	if err != nil || unit == 0 || n == 0 || n > uint64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// retentionProperties are what two declarations of a stream queue must have in
// common.
func retentionProperties(got, current *QueueSpec) []property {
	var all []property
	for _, arg := range []string{argMaxAge, argMaxBytes, argCleanup, argSegmentBytes, argFilterBytes} {
		all = append(all, property{arg, text(got.Args[arg]), text(current.Args[arg])})
	}
	return all
}

// retain has each shard look through its stream queues from time to time.
func (b *Broker) retain(ctx context.Context) work.Loop {
	return work.Every("retention", b.deps.Clock, b.cfg.RetentionInterval, ctx.Done(), func(time.Time) {
		for i, s := range b.shards {
			if _, err := s.Retain(b.deps.Clock.Now(), b.cfg.CompactionLag); err != nil && s.Err() == nil {
				b.deps.Log.Error("retention not carried out", slog.Int("shard", i), slog.Any("error", err))
			}
		}
	}, nil)
}
