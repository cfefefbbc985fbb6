package metadata_test

import (
	"strings"
	"testing"

	"github.com/dlclark/regexp2"

	"github.com/tidegate/tidegate/metadata"
)

// TestPatternsLookAround matches policies whose patterns RE2 does not have.
func TestPatternsLookAround(t *testing.T) {
	t.Cleanup(regexp2.StopTimeoutClock)
	for _, tc := range []struct {
		pattern     string
		yes, no     string
		mustNotWork bool
	}{
		{pattern: `^(?!amq\.|eu\.).*`, yes: "orders", no: "amq.gen-1"},
		{pattern: `^(?=.*\.high$)orders`, yes: "orders.high", no: "orders.low"},
		{pattern: `(?<!dead\.)letters$`, yes: "love.letters", no: "dead.letters"},
		{pattern: `^(\w+)\.\1$`, yes: "a.a", no: "a.b"},
		{pattern: `^(?P<kind>a|b)(?!c)`, yes: "ab", no: "ac"},
		{pattern: `(?!`, mustNotWork: true},
		{pattern: `(`, mustNotWork: true},
	} {
		p := metadata.Policy{Name: "p", Pattern: tc.pattern, Definition: map[string]any{"max-length": int64(1)}}
		if err := p.Validate(); (err != nil) != tc.mustNotWork {
			t.Errorf("%s: got %v, refused should be %v", tc.pattern, err, tc.mustNotWork)
		}
		if tc.mustNotWork {
			continue
		}
		set := metadata.NewPolicySet([]metadata.Policy{p})
		for name, want := range map[string]bool{tc.yes: true, tc.no: false} {
			if got, _ := set.Match(metadata.PolicyTarget{Name: name}); (got != nil) != want {
				t.Errorf("%s on %q: got %v, want a match: %v", tc.pattern, name, got, want)
			}
		}
	}
}

// TestPatternsAreBounded matches a pattern that would take years for a name of
// this length: it gives up, and does not try again. Without that the test does
// not end.
func TestPatternsAreBounded(t *testing.T) {
	t.Cleanup(regexp2.StopTimeoutClock)
	set := metadata.NewPolicySet([]metadata.Policy{{Name: "p", Pattern: `^(?!x)((a+)+)+$`}})
	long := strings.Repeat("a", 200)
	for range 10_000 {
		if got, _ := set.Match(metadata.PolicyTarget{Name: long + "!"}); got != nil {
			t.Fatal("a pattern that gave up matches")
		}
	}
	if got, _ := set.Match(metadata.PolicyTarget{Name: "a"}); got != nil {
		t.Error("a pattern that gave up matches another name")
	}
}
