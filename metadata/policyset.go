package metadata

import (
	"cmp"
	"maps"
	"slices"
)

// PolicySet are the policies of a namespace, made ready to be matched with many
// names. It never changes, and is safe for concurrent use.
type PolicySet struct {
	own, operators []matcher // the first that matches counts
}

// matcher is a policy with its pattern.
type matcher struct {
	Policy
	pattern *pattern
}

// NewPolicySet returns the set of the policies of both kinds, which are of one
// namespace. A pattern that does not compile matches nothing.
func NewPolicySet(policies []Policy) *PolicySet {
	s := new(PolicySet)
	for _, p := range policies {
		pattern, err := compilePattern(p.Pattern)
		if err != nil {
			continue
		}
		list := &s.own
		if p.Operator {
			list = &s.operators
		}
		*list = append(*list, matcher{p, pattern})
	}
	byRank := func(a, b matcher) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(s.own, byRank)
	slices.SortFunc(s.operators, byRank)
	return s
}

// Match returns the one policy and the one operator policy that hold for the
// target, nil where none does: of those that apply and whose pattern is found in
// the name, the one of the highest priority, and of equals the first by name.
func (s *PolicySet) Match(t PolicyTarget) (own, operator *Policy) {
	return first(s.own, t), first(s.operators, t)
}

func first(list []matcher, t PolicyTarget) *Policy {
	for i := range list {
		if m := &list[i]; m.applies(t) && m.pattern.match(t.Name) {
			return &m.Policy
		}
	}
	return nil
}

// Definition returns what the policies ask of the target together: of two numbers
// the smaller counts, of anything else the operator's.
func (s *PolicySet) Definition(t PolicyTarget) map[string]any {
	own, operator := s.Match(t)
	out := make(map[string]any)
	if own != nil {
		maps.Copy(out, own.Definition)
	}
	if operator == nil {
		return out
	}
	for key, bound := range operator.Definition {
		if mine, ok := out[key]; ok {
			bound = Smaller(mine, bound)
		}
		out[key] = bound
	}
	return out
}

// Smaller returns the smaller of two numbers, and of anything else the bound.
func Smaller(value, bound any) any {
	if isNumber(value) && isNumber(bound) && asFloat(value) < asFloat(bound) {
		return value
	}
	return bound
}
