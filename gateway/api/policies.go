package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// policies are the routes of one kind of policies.
type policies struct {
	*API
	operator bool
}

func policyObject(p metadata.Policy) object {
	applyTo := p.ApplyTo
	if applyTo == "" {
		applyTo = metadata.ApplyAll
	}
	return object{
		"name": p.Name, "vhost": p.Namespace, "pattern": p.Pattern, "apply-to": applyTo,
		"priority": p.Priority, "definition": orEmpty(p.Definition),
	}
}

// policyBody is what a policy is made of.
type policyBody struct {
	Name       string          `json:"name"`
	Vhost      string          `json:"vhost"`
	Pattern    *string         `json:"pattern"`
	ApplyTo    string          `json:"apply-to"`
	Priority   integer         `json:"priority"`
	Definition json.RawMessage `json:"definition"`
}

// policy reads the body. A setting that nobody knows is refused.
func (b *policyBody) policy(vhost, name string, operator bool) (metadata.Policy, error) {
	p := metadata.Policy{Namespace: vhost, Name: name, Operator: operator, ApplyTo: b.ApplyTo, Priority: int(b.Priority)}
	if b.Pattern == nil {
		return p, keyMissing("pattern")
	}
	if len(b.Definition) == 0 {
		return p, keyMissing("definition")
	}
	p.Pattern = *b.Pattern
	var err error
	if p.Definition, err = decodeArguments(b.Definition); err != nil {
		return p, err
	}
	if err := p.Validate(); err != nil {
		return p, err
	}
	if e, ok := errors.AsType[*core.Error](core.CheckPolicy(&p)); ok {
		return p, badRequest("%s", e.Detail)
	}
	return p, nil
}

func (p policies) list(_ context.Context, r *request) (answer, error) {
	names, err := p.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	return found(list(slices.DeleteFunc(p.Catalog.Policies(p.operator), func(o metadata.Policy) bool {
		return !slices.Contains(names, o.Namespace)
	}), policyObject))
}

func (p policies) get(_ context.Context, r *request) (answer, error) {
	vhost, err := p.vhost(r)
	if err != nil {
		return answer{}, err
	}
	one, ok := p.Catalog.Policy(vhost, r.PathValue("name"), p.operator)
	if !ok {
		return answer{}, errMissing
	}
	return found(policyObject(one))
}

func (p policies) put(ctx context.Context, r *request) (answer, error) {
	vhost, err := p.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	var body policyBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	one, err := body.policy(vhost, r.PathValue("name"), p.operator)
	if err != nil {
		return answer{}, err
	}
	_, there := p.Catalog.Policy(vhost, one.Name, p.operator)
	if err := p.putPolicy(ctx, one); err != nil {
		return answer{}, err
	}
	return put(!there)
}

// putPolicy keeps a policy, and says in the log which of its settings do nothing:
// whoever made them for RabbitMQ is to know.
func (a *API) putPolicy(ctx context.Context, p metadata.Policy) error {
	if names := core.IdleSettings(&p); len(names) > 0 {
		a.Log.LogAttrs(ctx, slog.LevelInfo, "policy has settings without effect",
			slog.String("policy", p.Name), slog.String("vhost", p.Namespace), slog.Any("settings", names))
	}
	return a.Catalog.PutPolicy(ctx, p)
}

func (p policies) delete(ctx context.Context, r *request) (answer, error) {
	vhost, err := p.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	deleted, err := p.Catalog.DeletePolicy(ctx, vhost, r.PathValue("name"), p.operator)
	if err != nil {
		return answer{}, err
	}
	if !deleted {
		return answer{}, errMissing
	}
	return done()
}

// policiesOf are the policies of one virtual host, for those who describe many
// objects of it.
func (a *API) policiesOf(vhost string) *metadata.PolicySet {
	return metadata.NewPolicySet(a.Catalog.NamespacePolicies(vhost))
}

// describePolicies adds to a queue or an exchange which policies hold for it.
func describePolicies(o object, policies *metadata.PolicySet, t metadata.PolicyTarget) {
	own, operator := policies.Match(t)
	o["policy"], o["operator_policy"] = nil, nil
	if own != nil {
		o["policy"] = own.Name
	}
	if operator != nil {
		o["operator_policy"] = operator.Name
	}
	o["effective_policy_definition"] = policies.Definition(t)
}
