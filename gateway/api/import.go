package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidegate/tidegate/metadata"
)

// An import is checked whole before anything of it is written, each part by itself and
// against what is there and what the file makes, so that one that is refused changes
// nothing. What is there already and is not in the file stays. One that fails half way,
// because the metadata store goes away or somebody changes something meanwhile, can be
// repeated.

func (a *API) importAll(ctx context.Context, r *request) (answer, error) {
	var d definitions
	if err := r.decodeFile(&d); err != nil {
		return answer{}, err
	}
	return a.importDefinitions(ctx, &d)
}

// importVhost imports what lies in a virtual host, whatever one it came from.
func (a *API) importVhost(ctx context.Context, r *request) (answer, error) {
	name, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	var d definitions
	if err := r.decodeFile(&d); err != nil {
		return answer{}, err
	}
	d.Users, d.Vhosts, d.Permissions, d.TopicPermissions, d.GlobalParameters = nil, nil, nil, nil, nil
	for i := range d.Parameters {
		d.Parameters[i].Vhost = name
	}
	for i := range d.Policies {
		d.Policies[i].Vhost = name
	}
	for i := range d.Queues {
		d.Queues[i].Vhost = name
	}
	for i := range d.Exchanges {
		d.Exchanges[i].Vhost = name
	}
	for i := range d.Bindings {
		d.Bindings[i].Vhost = name
	}
	return a.importDefinitions(ctx, &d)
}

// step is one object to write. It has been checked.
type step func(ctx context.Context) error

func (a *API) importDefinitions(ctx context.Context, d *definitions) (answer, error) {
	var steps []step
	for _, part := range []func(*definitions) ([]step, error){
		a.importUsers, a.importVhosts, a.importPermissions, a.importParameters, a.importPolicies,
		a.importExchanges, a.importQueues, a.importBindings,
	} {
		more, err := part(d)
		if err != nil {
			return answer{}, err
		}
		steps = append(steps, more...)
	}
	if err := a.vet(d); err != nil {
		return answer{}, err
	}
	for _, do := range steps {
		if err := do(ctx); err != nil {
			return answer{}, err
		}
	}
	return done()
}

// about tells in an error which object it is of.
func about(err error, kind, name string) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*refused); ok { //nolint:errorlint // only a bare one is said again with more words
		return &refused{e.status, e.name, kind + " '" + name + "': " + e.cause}
	}
	return fmt.Errorf("%s '%s': %w", kind, name, err)
}

func (a *API) importUsers(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Users {
		u := &d.Users[i]
		switch {
		case u.Name == "":
			return nil, badRequest("a user has no name")
		case u.Tags == nil:
			u.Tags = new(tagList)
		}
		if _, err := u.hash(); err != nil {
			return nil, about(err, "user", u.Name)
		}
		for limit, value := range u.Limits {
			if err := setLimit(new(metadata.Limits), userLimits, limit, &value); err != nil {
				return nil, about(err, "user", u.Name)
			}
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := a.makeUser(ctx, u.Name, u)
			return err
		})
	}
	return steps, nil
}

func (a *API) importVhosts(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Vhosts {
		v := &d.Vhosts[i]
		if err := v.apply(new(metadata.Namespace)); err != nil {
			return nil, about(err, "vhost", v.Name)
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := a.makeVhost(ctx, v.Name, v)
			return err
		})
	}
	return steps, nil
}

func (a *API) importPermissions(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Permissions {
		p := &d.Permissions[i]
		err := checkPatterns(map[string]*string{"configure": p.Configure, "write": p.Write, "read": p.Read})
		if err != nil {
			return nil, about(err, "permission of user", p.User)
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := a.makePermission(ctx, p.User, p.Vhost, p)
			return err
		})
	}
	for i := range d.TopicPermissions {
		p := &d.TopicPermissions[i]
		if err := checkPatterns(map[string]*string{"write": p.Write, "read": p.Read}); err != nil {
			return nil, about(err, "topic permission of user", p.User)
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := a.makeTopicPermission(ctx, p.User, p.Vhost, p)
			return err
		})
	}
	return steps, nil
}

func (a *API) importParameters(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Parameters {
		p := &d.Parameters[i]
		do, err := a.makeParameter(p)
		if err != nil {
			return nil, about(err, p.Component, p.Name)
		}
		steps = append(steps, do)
	}
	for i := range d.GlobalParameters {
		p := &d.GlobalParameters[i]
		if p.Name == "" {
			return nil, badRequest("a global parameter has no name")
		}
		steps = append(steps, func(ctx context.Context) error { return a.makeGlobal(ctx, p) })
	}
	return steps, nil
}

func (a *API) importLimits(p *parameterBody) (step, error) {
	if p.Name != nameLimits {
		return nil, badRequest("limits of a virtual host have the name '%s'", nameLimits)
	}
	var values map[string]int
	if err := json.Unmarshal(p.Value, &values); err != nil {
		return nil, badRequest("limits are no numbers: %v", err)
	}
	var limits metadata.Limits
	for name, value := range values {
		if err := setLimit(&limits, vhostLimits, name, &value); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) error {
		ns, ok := a.Catalog.Namespace(p.Vhost)
		if !ok {
			return errMissing
		}
		ns.Limits = limits
		return a.Catalog.PutNamespace(ctx, ns)
	}, nil
}

func (a *API) importPolicies(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Policies {
		p := &d.Policies[i]
		do, err := a.importPolicy(p, p.Vhost, p.Name, false)
		if err != nil {
			return nil, about(err, "policy", p.Name)
		}
		steps = append(steps, do)
	}
	return steps, nil
}

func (a *API) importPolicy(b *policyBody, vhost, name string, operator bool) (step, error) {
	p, err := b.policy(vhost, name, operator)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.putPolicy(ctx, p) }, nil
}

func (a *API) importExchanges(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Exchanges {
		x := &d.Exchanges[i]
		spec, err := x.spec(x.Name)
		if err == nil {
			check := spec
			err = a.Dialect.CheckExchange(x.Vhost, &check)
		}
		if err != nil {
			return nil, about(err, "exchange", x.Name)
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := a.makeExchange(ctx, x.Vhost, spec)
			return err
		})
	}
	return steps, nil
}

func (a *API) importQueues(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Queues {
		q := &d.Queues[i]
		spec, err := q.spec(q.Name)
		if err == nil && q.Name == "" {
			err = badRequest("a queue has no name")
		}
		if err == nil {
			err = a.Dialect.CheckQueue(q.Vhost, &spec)
		}
		if err != nil {
			return nil, about(err, "queue", q.Name)
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := a.makeQueue(ctx, q.Vhost, spec)
			return err
		})
	}
	return steps, nil
}

func (a *API) importBindings(d *definitions) ([]step, error) {
	var steps []step
	for i := range d.Bindings {
		b := &d.Bindings[i]
		if b.Source == "" {
			continue // implied by the queue
		}
		spec, err := b.spec()
		if err != nil {
			return nil, about(err, "binding from", b.Source)
		}
		steps = append(steps, func(ctx context.Context) error { return a.Broker.Bind(ctx, b.Vhost, spec) })
	}
	return steps, nil
}
