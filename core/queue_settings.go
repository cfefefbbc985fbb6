package core

import (
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/shard"
)

// Arguments of queues that the engine acts on.
const (
	argSingleActive = "x-single-active-consumer"
)

// Types of queues. They are kept alike, and differ in what they promise.
const (
	classicQueue = "classic"
	quorumQueue  = "quorum"
)

// queueType is the type that the arguments ask for.
func (spec *QueueSpec) queueType() string {
	if t := text(spec.Args[argQueueType]); t != "" {
		return t
	}
	return classicQueue
}

// queueSettings is how the arguments have the queue behave.
func queueSettings(spec *QueueSpec) shard.QueueSettings {
	var s shard.QueueSettings
	if single, _ := spec.Args[argSingleActive].(bool); single {
		s.Sharing = queue.Single
		if spec.queueType() == quorumQueue {
			s.Sharing = queue.SingleByPriority
		}
	}
	return s
}
