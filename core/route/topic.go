package route

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxLevels is how many levels an MQTT topic or filter may have.
	MaxLevels = 128
	// MaxTopic is how many bytes an MQTT topic or filter may have.
	MaxTopic = 65_535
)

// SwapTopic appends the routing key of an MQTT topic, or the topic of a routing
// key, to dst: '.' and '/' change places, everything else stays. It is its own
// inverse. dst and src may be the same memory if dst is src[:0].
func SwapTopic(dst, src []byte) []byte {
	for _, c := range src {
		switch c {
		case '.':
			c = '/'
		case '/':
			c = '.'
		}
		dst = append(dst, c)
	}
	return dst
}

// ValidTopic tells with ErrInvalid why an MQTT client may not publish to the topic:
// it is empty or too long, has too many levels, a wildcard or NUL, or is no UTF-8.
func ValidTopic(topic []byte) error {
	if fault := topicFault(topic, '/'); fault != "" {
		return fmt.Errorf("topic %s: %w", fault, ErrInvalid)
	}
	return nil
}

// topicFault says what keeps a name with levels separated by sep from being a
// topic; "" means nothing.
func topicFault(name []byte, sep byte) string {
	switch {
	case len(name) == 0:
		return "is empty"
	case len(name) > MaxTopic:
		return "is longer than 65,535 bytes"
	case bytes.IndexByte(name, '+') >= 0 || bytes.IndexByte(name, '#') >= 0:
		return "has a wildcard"
	case bytes.IndexByte(name, 0) >= 0:
		return "has a NUL"
	case !utf8.Valid(name):
		return "is not UTF-8"
	case len(name) >= MaxLevels && bytes.Count(name, []byte{sep}) >= MaxLevels:
		return "has more than 128 levels"
	default:
		return ""
	}
}

// ValidFilter tells with ErrInvalid why the string is no MQTT topic filter. It knows
// nothing of $share and its kin: the adapter takes such prefixes off first.
func ValidFilter(filter string) error {
	if fault := filterFault(filter); fault != "" {
		return fmt.Errorf("topic filter %s: %w", fault, ErrInvalid)
	}
	return nil
}

func filterFault(filter string) string {
	switch {
	case filter == "":
		return "is empty"
	case len(filter) > MaxTopic:
		return "is longer than 65,535 bytes"
	case strings.IndexByte(filter, 0) >= 0:
		return "has a NUL"
	case !utf8.ValidString(filter):
		return "is not UTF-8"
	case strings.Count(filter, "/") >= MaxLevels:
		return "has more than 128 levels"
	}
	rest, more := filter, true
	for more {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && more:
			return "goes on after #"
		case len(level) > 1 && strings.ContainsAny(level, "+#"):
			return "has a wildcard within a level"
		}
	}
	return ""
}

// MatchFilter tells whether one MQTT filter matches one topic. A string that is no
// legal topic is matched by nothing, and a string that is no legal filter matches
// nothing that it does not spell out. A filter that begins with a wildcard does not
// match a topic that begins with '$'.
func MatchFilter(filter, topic string) bool {
	if topic == "" || filter == "" || strings.ContainsAny(topic, "+#\x00") {
		return false
	}
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for {
		want, filterRest, moreFilter := strings.Cut(filter, "/")
		if want == "#" {
			return !moreFilter
		}
		have, topicRest, moreTopic := strings.Cut(topic, "/")
		if want != "+" && want != have {
			return false
		}
		switch {
		case moreFilter && moreTopic:
			filter, topic = filterRest, topicRest
		case moreFilter:
			return filterRest == "#"
		default:
			return !moreTopic
		}
	}
}
