package metadata

import (
	"context"
	"fmt"
)

// What a policy applies to.
const (
	ApplyAll       = "all"
	ApplyExchanges = "exchanges"
	ApplyQueues    = "queues"
	ApplyClassic   = "classic_queues"
	ApplyQuorum    = "quorum_queues"
	ApplyStreams   = "streams"
)

// PolicyTarget is an object that policies are matched against.
type PolicyTarget struct {
	Name     string
	Exchange bool
	// QueueType is "classic", "quorum" or "stream"; empty is classic.
	QueueType string
}

// Validate tells why the policy can never be applied: ErrInvalid.
func (p *Policy) Validate() error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("policy %q: %s: %w", p.Name, fmt.Sprintf(format, args...), ErrInvalid)
	}
	switch p.ApplyTo {
	case "", ApplyAll, ApplyQueues, ApplyClassic, ApplyQuorum, ApplyStreams:
	case ApplyExchanges:
		if p.Operator {
			return invalid("an operator policy applies to queues alone")
		}
	default:
		return invalid("apply-to %q is not known", p.ApplyTo)
	}
	if _, err := compilePattern(p.Pattern); err != nil {
		return invalid("pattern is no regular expression: %v", err)
	}
	if len(p.Definition) == 0 {
		return invalid("the definition is empty")
	}
	return nil
}

// For tells whether the policy is for queues of the type.
func (p *Policy) For(queueType string) bool { return p.applies(PolicyTarget{QueueType: queueType}) }

// applies tells whether the policy is for objects of the target's kind.
func (p *Policy) applies(t PolicyTarget) bool {
	if t.Exchange {
		return !p.Operator && (p.ApplyTo == "" || p.ApplyTo == ApplyAll || p.ApplyTo == ApplyExchanges)
	}
	switch p.ApplyTo {
	case "", ApplyAll, ApplyQueues:
		return true
	case ApplyClassic:
		return t.QueueType == "" || t.QueueType == "classic"
	case ApplyQuorum:
		return t.QueueType == "quorum"
	case ApplyStreams:
		return t.QueueType == "stream"
	}
	return false
}

func isNumber(v any) bool {
	switch v.(type) {
	case int, int64, uint64, float64:
		return true
	}
	return false
}

func asFloat(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

// PutPolicy makes a policy or replaces the one of that name and kind. Its
// namespace must exist, else ErrNotFound.
func (c *Catalog) PutPolicy(ctx context.Context, p Policy) error {
	what := fmt.Sprintf("put policy %q in namespace %q", p.Name, p.Namespace)
	if err := p.Validate(); err != nil {
		return err
	}
	value, err := encodePolicy(p)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err = c.write(ctx, what, func(v *view) (plan, error) {
		home, err := v.exists(v.keys.namespace(p.Namespace))
		if err != nil {
			return plan{}, err
		}
		key := v.keys.policy(p.Namespace, p.Operator, p.Name)
		return plan{compares: []Compare{home}, ops: []Op{{Key: key, Value: value}}}, nil
	})
	return err
}

// DeletePolicy deletes a policy.
func (c *Catalog) DeletePolicy(ctx context.Context, namespace, name string, operator bool) (bool, error) {
	what := fmt.Sprintf("delete policy %q in namespace %q", name, namespace)
	return c.remove(ctx, what, c.keys.policy(namespace, operator, name))
}

// Policies returns the policies of one kind in all namespaces, by namespace and name.
func (c *Catalog) Policies(operator bool) []Policy {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return sortedValues(c.view.policiesOf(operator), func(a, b Policy) int {
		return compareAll(a.Namespace, b.Namespace, a.Name, b.Name)
	})
}

// Policy returns the policy of that name and kind.
func (c *Catalog) Policy(namespace, name string, operator bool) (Policy, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.view.policiesOf(operator)[objectID{namespace, name}]
	return p, ok
}

// NamespacePolicies returns the policies of both kinds in a namespace, in no order.
func (c *Catalog) NamespacePolicies(namespace string) []Policy {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var list []Policy
	for _, all := range []map[objectID]Policy{c.view.policies, c.view.operators} {
		for id, p := range all {
			if id.namespace == namespace {
				list = append(list, p)
			}
		}
	}
	return list
}
