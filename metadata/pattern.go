package metadata

import (
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2"
)

// patience is how long a match may take of a pattern that looks around. The
// library's clock for it ends by itself a second after the last match.
const patience = 100 * time.Millisecond

// pattern is a regular expression on names. Most take time linear in the name.
// Those that need to look ahead or behind, as RabbitMQ's may, can take time
// exponential in it: one of them that was too slow once matches nothing from then
// on, so that it costs its time once and not for every name.
type pattern struct {
	linear  *regexp.Regexp
	looking *regexp2.Regexp // where linear is nil
	slow    atomic.Bool
}

func compilePattern(text string) (*pattern, error) {
	linear, err := regexp.Compile(text)
	if err == nil {
		return &pattern{linear: linear}, nil
	}
	looking, otherErr := regexp2.Compile(text, regexp2.RE2)
	if otherErr != nil {
		return nil, fmt.Errorf("compile pattern: %w", err)
	}
	looking.MatchTimeout = patience
	return &pattern{looking: looking}, nil
}

// match tells whether the pattern is found in the name.
func (p *pattern) match(name string) bool {
	if p.linear != nil {
		return p.linear.MatchString(name)
	}
	if p.slow.Load() {
		return false
	}
	found, err := p.looking.MatchString(name)
	if err != nil { // it ran out of time
		p.slow.Store(true)
	}
	return found && err == nil
}
