package mqtt

import (
	"strings"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// The first levels of subscriptions that share what they get: $share/<group>/<filter>, and
// $queue/<name>.
const (
	shareLevel = "$share"
	queueLevel = "$queue"
)

// cutShared returns the filter that a subscription has with others or for itself, or the
// queue that it consumes.
func cutShared(filter string) (inner, queue string) {
	if rest, ok := strings.CutPrefix(filter, shareLevel+"/"); ok {
		_, inner, _ = strings.Cut(rest, "/")
		return inner, ""
	}
	queue, _ = strings.CutPrefix(filter, queueLevel+"/")
	if len(queue) == len(filter) {
		return filter, ""
	}
	return "", queue
}

// judgeShared tells whether a filter that begins with $share can be subscribed to: a name of
// at least one byte without wildcards, and a filter.
func judgeShared(filter string) wire.Reason {
	rest, _ := strings.CutPrefix(filter, shareLevel+"/")
	group, inner, ok := strings.Cut(rest, "/")
	if !ok || group == "" || len(rest) == len(filter) || strings.ContainsAny(group, "+#") {
		return wire.TopicFilterInvalid
	}
	switch first, _, _ := strings.Cut(inner, "/"); first {
	case shareLevel, queueLevel, exclusiveLevel:
		return wire.TopicFilterInvalid
	}
	return judgeFilter(inner)
}
