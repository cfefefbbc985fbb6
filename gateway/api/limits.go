package api

import (
	"context"
	"net/http"

	"github.com/tidegate/tidegate/metadata"
)

// The limits that there are, by RabbitMQ's names.
const (
	limitConnections = "max-connections"
	limitQueues      = "max-queues"
	limitChannels    = "max-channels"
)

var (
	vhostLimits = []string{limitConnections, limitQueues}
	userLimits  = []string{limitConnections, limitChannels}
)

// setLimit sets a limit; nil and negative values lift it.
func setLimit(l *metadata.Limits, known []string, name string, value *int) error {
	if value != nil && *value < 0 {
		value = nil
	}
	for _, k := range known {
		if k != name {
			continue
		}
		switch name {
		case limitQueues:
			l.MaxQueues = value
		case limitChannels:
			l.MaxChannels = value
		default:
			l.MaxConnections = value
		}
		return nil
	}
	return badRequest("limit '%s' is not supported in this version", name)
}

func limitsObject(l metadata.Limits) object {
	o := object{}
	if l.MaxConnections != nil {
		o[limitConnections] = *l.MaxConnections
	}
	if l.MaxQueues != nil {
		o[limitQueues] = *l.MaxQueues
	}
	if l.MaxChannels != nil {
		o[limitChannels] = *l.MaxChannels
	}
	return o
}

func (a *API) listVhostLimits(_ context.Context, r *request) (answer, error) {
	names, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	var out []object
	for _, name := range names {
		ns, _ := a.Catalog.Namespace(name)
		if limits := limitsObject(ns.Limits); len(limits) > 0 {
			out = append(out, object{"vhost": name, "value": limits})
		}
	}
	return found(orNone(out))
}

func (a *API) listUserLimits(_ context.Context, r *request) (answer, error) {
	users := a.Catalog.Users()
	if r.PathValue("user") != "" {
		u, err := a.pathUser(r)
		if err != nil {
			return answer{}, err
		}
		users = []metadata.User{u}
	}
	var out []object
	for _, u := range users {
		if limits := limitsObject(u.Limits); len(limits) > 0 {
			out = append(out, object{"user": u.Name, "value": limits})
		}
	}
	return found(orNone(out))
}

// limitOf reads the new value of a limit; nil for a DELETE.
func limitOf(r *request) (*int, error) {
	if r.Method == http.MethodDelete {
		return nil, nil //nolint:nilnil // nil lifts the limit
	}
	var body struct {
		Value *int `json:"value"`
	}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	if body.Value == nil {
		return nil, keyMissing("value")
	}
	return body.Value, nil
}

func (a *API) setVhostLimit(ctx context.Context, r *request) (answer, error) {
	value, err := limitOf(r)
	if err != nil {
		return answer{}, err
	}
	ns, ok := a.Catalog.Namespace(r.PathValue("vhost"))
	if !ok {
		return answer{}, errMissing
	}
	if err := setLimit(&ns.Limits, vhostLimits, r.PathValue("limit"), value); err != nil {
		return answer{}, err
	}
	if err := a.Catalog.PutNamespace(ctx, ns); err != nil {
		return answer{}, err
	}
	return done()
}

func (a *API) setUserLimit(ctx context.Context, r *request) (answer, error) {
	value, err := limitOf(r)
	if err != nil {
		return answer{}, err
	}
	u, err := a.pathUser(r)
	if err != nil {
		return answer{}, err
	}
	if err := setLimit(&u.Limits, userLimits, r.PathValue("limit"), value); err != nil {
		return answer{}, err
	}
	if err := a.Catalog.PutUser(ctx, u); err != nil {
		return answer{}, err
	}
	return done()
}
