package core

import (
	"math"
	"time"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/shard"
)

// Arguments of queues that the engine acts on.
const (
	argSingleActive = "x-single-active-consumer"
	argMessageTTL   = "x-message-ttl"
	argExpires      = "x-expires"
	argMaxLength    = "x-max-length"
	argOverflow     = "x-overflow"
	argAckTimeout   = "x-consumer-timeout"
	argDeadExchange = "x-dead-letter-exchange"
	argDeadKey      = "x-dead-letter-routing-key"
	argDeadStrategy = "x-dead-letter-strategy"
	argMaxReturns   = "x-delivery-limit"
	argMaxPriority  = "x-max-priority"
)

// What becomes of a message that is too much for its queue.
const (
	overflowDrop   = "drop-head" // the first that waits goes instead
	overflowReject = "reject-publish"
	overflowSpill  = "reject-publish-dlx" // likewise, and what is refused becomes a dead letter
)

// overflowProperty compares what becomes of messages that are too much; drop-head says
// what holds without it, but for policies.
func overflowProperty(got, current *QueueSpec) property {
	p := property{argOverflow, text(got.Args[argOverflow]), text(current.Args[argOverflow])}
	if p.got+p.current == overflowDrop {
		return property{name: argOverflow}
	}
	return p
}

// Types of queues. They are kept alike, and differ in what they promise.
const (
	classicQueue = "classic"
	quorumQueue  = "quorum"
	streamQueue  = "stream"
)

// queueType is the type that the arguments ask for.
func (spec *QueueSpec) queueType() string {
	if t := text(spec.Args[argQueueType]); t != "" {
		return t
	}
	return classicQueue
}

const (
	// noTTL is the time to live of messages that have none.
	noTTL = -1
	// maxTTL is the longest time to live in milliseconds, 100 years: longer ones
	// are as good as that.
	maxTTL = 100 * 365 * 24 * 3600 * 1000
)

// queueTTL is how long the arguments let messages live, in milliseconds.
func queueTTL(spec *QueueSpec) int64 {
	if ttl, ok := spec.Args[argMessageTTL].(int64); ok && ttl >= 0 {
		return min(ttl, maxTTL)
	}
	return noTTL
}

// highestPriority is the highest one that the arguments let messages have, 0 when
// priorities change nothing. Only classic queues have some.
func highestPriority(spec *QueueSpec) uint8 {
	highest, ok := spec.Args[argMaxPriority].(int64)
	if !ok || highest <= 0 || spec.queueType() != classicQueue {
		return 0
	}
	return uint8(min(highest, math.MaxUint8))
}

// queueTerm is how long the arguments let the queue stay without being used, 0
// for ever.
func queueTerm(spec *QueueSpec) time.Duration {
	term, ok := spec.Args[argExpires].(int64)
	if !ok || term <= 0 {
		return 0
	}
	return time.Duration(min(term, maxTTL)) * time.Millisecond
}

// ackTimeout is how long the queue lets deliveries be unacknowledged, 0 for ever:
// what its arguments say, and else for ever, but for quorum queues noAckTimeout.
func ackTimeout(spec *QueueSpec) time.Duration {
	if ms, ok := spec.Args[argAckTimeout].(int64); ok && ms >= 0 {
		return time.Duration(min(ms, maxTTL)) * time.Millisecond
	}
	if spec.queueType() == quorumQueue {
		return noAckTimeout
	}
	return 0
}

// noAckTimeout leaves it to the protocol how long deliveries may be unacknowledged.
const noAckTimeout = -1

// queueSettings is how the arguments have the queue behave.
func queueSettings(spec *QueueSpec) shard.QueueSettings {
	var s shard.QueueSettings
	if single, _ := spec.Args[argSingleActive].(bool); single {
		s.Sharing = queue.Single
		if spec.queueType() == quorumQueue {
			s.Sharing = queue.SingleByPriority
		}
	}
	if most, ok := spec.Args[argMaxLength].(int64); ok && most >= 0 {
		s.Bounds.Limited, s.Bounds.Length = true, uint64(most)
	}
	if spec.queueType() == quorumQueue {
		s.Counted = true
		s.MaxReturns = -1
		if most, ok := spec.Args[argMaxReturns].(int64); ok {
			s.MaxReturns = most
		}
	}
	if most, ok := spec.Args[argMaxBytes].(int64); ok && most >= 0 {
		s.Bounds.Weighed, s.Bounds.Bytes = true, uint64(most)
	}
	s.Highest = highestPriority(spec)
	refuses := spec.Args[argOverflow] == overflowReject || spec.Args[argOverflow] == overflowSpill
	s.Refuse = refuses && (s.Bounds.Limited || s.Bounds.Weighed)
	return s
}
