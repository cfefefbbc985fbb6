package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/metadata"
)

// idle are the settings of policies that have no effect here, since what they
// choose among is not there: replicas of queues, the versions of a queue's files
// and links to other clusters. They are checked, kept and told back, so that
// policies made for RabbitMQ can be taken as they are.
var idle = map[string]struct {
	refusal   string // what is said of a value behind it
	valid     func(value any) bool
	operators bool
}{
	"queue-mode":                    {"is not a valid queue-mode value", oneOf("default", "lazy"), false},
	"queue-version":                 {"is not a valid queue-version value", oneOf(int64(1), int64(2)), false},
	"queue-leader-locator":          {"is not a valid queue leader locator value", oneOf(locators...), false},
	"queue-master-locator":          {"invalid queue-master-locator value", oneOf("client-local", "min-masters", "random"), false},
	"max-in-memory-length":          {"is not a valid maximum memory in bytes", atLeast(0), true},
	"max-in-memory-bytes":           {"is not a valid maximum memory in bytes", atLeast(0), true},
	"target-group-size":             {"is not a valid target group size", atLeast(1), true},
	"initial-cluster-size":          {"is not a valid cluster size", atLeast(0), false},
	"stream-max-segment-size-bytes": {"is not a valid segment size", atLeast(0), false},
	"stream-filter-size-bytes":      {"is not a valid filter size", atLeast(16), false},
	"ha-mode":                       {"is not a valid ha-mode value", oneOf("all", "exactly", "nodes"), true},
	"ha-params":                     {"is not a valid ha-params value", isMirrorParams, true},
	"ha-sync-mode":                  {`ha-sync-mode must be "manual" or "automatic"`, oneOf("manual", "automatic"), true},
	"ha-sync-batch-size":            {"ha-sync-batch-size takes an integer greater than 0", atLeast(1), false},
	"ha-promote-on-shutdown":        {"is not a valid ha-promote-on-shutdown value", oneOf("always", "when-synced"), false},
	"ha-promote-on-failure":         {"is not a valid ha-promote-on-failure value", oneOf("always", "when-synced"), false},
	"federation-upstream":           {"is not a valid federation upstream name", isText, false},
	"federation-upstream-set":       {"is not a valid federation upstream set name", isText, false},
	"federation-upstream-pattern":   {"is not a valid federation upstream pattern", isText, false},
}

// locators are the names of ways to choose a leader, of all versions of RabbitMQ.
var locators = []any{"client-local", "balanced", "random", "least-leaders"}

func oneOf(values ...any) func(any) bool {
	return func(value any) bool {
		switch value.(type) {
		case string, int64: // what can be compared
			return slices.Contains(values, value)
		}
		return false
	}
}

// isMirrorParams tells of the number of mirrors, or of the list of their nodes.
func isMirrorParams(value any) bool {
	nodes, isList := value.([]any)
	return isList && len(nodes) > 0 || atLeast(1)(value)
}

// IdleSettings returns the settings of the policy that have no effect here, by name.
func IdleSettings(p *metadata.Policy) []string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(p.Definition)) {
		if _, ok := idle[key]; ok {
			names = append(names, key)
		}
	}
	return names
}

// unrecognised says which settings of the policy nobody knows, "" when there are
// none, in the words of RabbitMQ.
func unrecognised(p *metadata.Policy) string {
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(p.Definition)) {
		s, known := settings[key]
		with, isIdle := idle[key]
		if known && (s.operators || !p.Operator) || isIdle && (with.operators || !p.Operator) {
			continue
		}
		terms = append(terms, fmt.Sprintf("{<<%q>>,%s}", key, term(p.Definition[key])))
	}
	if len(terms) == 0 {
		return ""
	}
	return "[" + strings.Join(terms, ",") + "] are not recognised policy settings"
}

// term shows a value as RabbitMQ does.
func term(value any) string {
	if s, ok := value.(string); ok {
		return fmt.Sprintf("<<%q>>", s)
	}
	return fmt.Sprint(value)
}
