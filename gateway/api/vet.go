package api

import (
	"encoding/json"

	"github.com/tidegate/tidegate/core"
)

// vetting is an import that is checked against what is there, with what the file makes
// itself, before anything of it is written.
type vetting struct {
	a             *API
	users, vhosts map[string]bool // those of the file
	queues        map[string]*int // limits of the file by virtual host
	drafts        map[string]*core.Draft
}

// vet returns why an import could not be carried out. Its parts are checked each by
// themselves already.
func (a *API) vet(d *definitions) error {
	v := &vetting{
		a: a, users: map[string]bool{}, vhosts: map[string]bool{}, queues: map[string]*int{},
		drafts: map[string]*core.Draft{},
	}
	for i := range d.Users {
		if len(d.Users[i].Name) > maxName {
			return badRequest("name of a user must have 1 to %d bytes", maxName)
		}
		v.users[d.Users[i].Name] = true
	}
	for i := range d.Vhosts {
		if name := d.Vhosts[i].Name; name == "" || len(name) > maxName {
			return badRequest("name of a virtual host must have 1 to %d bytes", maxName)
		}
		v.vhosts[d.Vhosts[i].Name] = true
	}
	for _, part := range []func(*definitions) error{v.access, v.rules, v.exchanges, v.queuesOf, v.bindings} {
		if err := part(d); err != nil {
			return err
		}
	}
	return nil
}

// vhost refuses a virtual host that will not be there.
func (v *vetting) vhost(name string) error {
	if _, there := v.a.Catalog.Namespace(name); there || v.vhosts[name] {
		return nil
	}
	return badRequest("vhost '%s' does not exist", name)
}

func (v *vetting) access(d *definitions) error {
	check := func(user, vhost string) error {
		if _, there := v.a.Catalog.User(user); !there && !v.users[user] {
			return badRequest("permission in vhost '%s': user '%s' does not exist", vhost, user)
		}
		return about(v.vhost(vhost), "permission of user", user)
	}
	for i := range d.Permissions {
		if err := check(d.Permissions[i].User, d.Permissions[i].Vhost); err != nil {
			return err
		}
	}
	for i := range d.TopicPermissions {
		if err := check(d.TopicPermissions[i].User, d.TopicPermissions[i].Vhost); err != nil {
			return err
		}
	}
	return nil
}

// rules are policies and parameters.
func (v *vetting) rules(d *definitions) error {
	for i := range d.Parameters {
		p := &d.Parameters[i]
		if err := about(v.vhost(p.Vhost), p.Component, p.Name); err != nil {
			return err
		}
		if p.Component != componentLimits {
			continue
		}
		var limits map[string]int
		if err := json.Unmarshal(p.Value, &limits); err != nil {
			return badRequest("limits are no numbers: %v", err)
		}
		v.queues[p.Vhost] = nil
		if n, limited := limits[limitQueues]; limited && n >= 0 {
			v.queues[p.Vhost] = &n
		}
	}
	for i := range d.Policies {
		if err := about(v.vhost(d.Policies[i].Vhost), "policy", d.Policies[i].Name); err != nil {
			return err
		}
	}
	return nil
}

// draft is that of a virtual host.
func (v *vetting) draft(vhost string) (*core.Draft, error) {
	if err := v.vhost(vhost); err != nil {
		return nil, err
	}
	if d := v.drafts[vhost]; d != nil {
		return d, nil
	}
	limit, told := v.queues[vhost]
	if !told {
		ns, _ := v.a.Catalog.Namespace(vhost)
		limit = ns.Limits.MaxQueues
	}
	d := v.a.Broker.NewDraft(vhost, limit)
	v.drafts[vhost] = d
	return d, nil
}

func (v *vetting) exchanges(d *definitions) error {
	for i := range d.Exchanges {
		x := &d.Exchanges[i]
		draft, err := v.draft(x.Vhost)
		if err == nil && reserved(x.Name) && !draft.HasExchange(x.Name) {
			err = notAuthorised("exchange name '%s' contains reserved prefix 'amq.*'", x.Name)
		}
		if err == nil && len(x.Name) > maxName {
			err = badRequest("name of an exchange must have 1 to %d bytes", maxName)
		}
		var spec core.ExchangeSpec
		if err == nil {
			spec, err = x.spec(x.Name)
		}
		if err == nil {
			err = v.a.Dialect.CheckExchange(x.Vhost, &spec)
		}
		if err == nil {
			err = draft.Exchange(spec)
		}
		if err != nil {
			return about(err, "exchange", x.Name)
		}
	}
	return nil
}

func (v *vetting) queuesOf(d *definitions) error {
	for i := range d.Queues {
		q := &d.Queues[i]
		draft, err := v.draft(q.Vhost)
		if err == nil && len(q.Name) > maxName {
			err = badRequest("name of a queue must have 1 to %d bytes", maxName)
		}
		var spec core.QueueSpec
		if err == nil {
			spec, err = q.spec(q.Name)
		}
		if err == nil {
			err = v.a.Dialect.CheckQueue(q.Vhost, &spec)
		}
		if err == nil {
			err = draft.Queue(spec)
		}
		if err != nil {
			return about(err, "queue", q.Name)
		}
	}
	return nil
}

func (v *vetting) bindings(d *definitions) error {
	for i := range d.Bindings {
		b := &d.Bindings[i]
		if b.Source == "" {
			continue // implied by the queue
		}
		draft, err := v.draft(b.Vhost)
		var spec core.BindingSpec
		if err == nil {
			spec, err = b.spec()
		}
		if err == nil {
			err = draft.Bind(spec)
		}
		if err != nil {
			return about(err, "binding from", b.Source)
		}
	}
	return nil
}
