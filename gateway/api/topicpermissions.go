package api

import (
	"context"
	"slices"

	"github.com/tidegate/tidegate/metadata"
)

func topicObject(p metadata.TopicPermission) object {
	return object{"user": p.User, "vhost": p.Namespace, "exchange": p.Exchange, "write": p.Write, "read": p.Read}
}

// topicBody is what a topic permission is made of.
type topicBody struct {
	User     string  `json:"user"`
	Vhost    string  `json:"vhost"`
	Exchange string  `json:"exchange"`
	Write    *string `json:"write"`
	Read     *string `json:"read"`
}

// topics returns the topic permissions that keep chooses.
func (a *API) topics(keep func(metadata.TopicPermission) bool) []object {
	return list(slices.DeleteFunc(a.Catalog.TopicPermissions(), func(p metadata.TopicPermission) bool {
		return !keep(p)
	}), topicObject)
}

func (a *API) listTopicPermissions(context.Context, *request) (answer, error) {
	return found(list(a.Catalog.TopicPermissions(), topicObject))
}

func (a *API) vhostTopicPermissions(_ context.Context, r *request) (answer, error) {
	name, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	return found(a.topics(func(p metadata.TopicPermission) bool { return p.Namespace == name }))
}

func (a *API) userTopicPermissions(_ context.Context, r *request) (answer, error) {
	u, err := a.pathUser(r)
	if err != nil {
		return answer{}, err
	}
	return found(a.topics(func(p metadata.TopicPermission) bool { return p.User == u.Name }))
}

func (a *API) getTopicPermissions(_ context.Context, r *request) (answer, error) {
	user, vhost := r.PathValue("user"), r.PathValue("vhost")
	some := a.topics(func(p metadata.TopicPermission) bool { return p.User == user && p.Namespace == vhost })
	if len(some) == 0 {
		return answer{}, errMissing
	}
	return found(some)
}

func (a *API) putTopicPermission(ctx context.Context, r *request) (answer, error) {
	var body topicBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	created, err := a.makeTopicPermission(ctx, r.PathValue("user"), r.PathValue("vhost"), &body)
	if err != nil {
		return answer{}, err
	}
	return put(created)
}

func (a *API) makeTopicPermission(ctx context.Context, user, vhost string, body *topicBody) (created bool, err error) {
	if err := checkPatterns(map[string]*string{"write": body.Write, "read": body.Read}); err != nil {
		return false, err
	}
	if err := a.bothThere(user, vhost); err != nil {
		return false, err
	}
	exchange := exchangeName(body.Exchange)
	_, there := a.Catalog.TopicPermission(user, vhost, exchange)
	return !there, a.Catalog.PutTopicPermission(ctx, metadata.TopicPermission{
		User: user, Namespace: vhost, Exchange: exchange, Write: *body.Write, Read: *body.Read,
	})
}

// deleteTopicPermissions deletes the one of the path's exchange, or all of the
// user in the virtual host.
func (a *API) deleteTopicPermissions(ctx context.Context, r *request) (answer, error) {
	user, vhost, exchange := r.PathValue("user"), r.PathValue("vhost"), r.PathValue("exchange")
	some := false
	for _, p := range a.Catalog.TopicPermissions() {
		if p.User != user || p.Namespace != vhost || exchange != "" && p.Exchange != exchangeName(exchange) {
			continue
		}
		if _, err := a.Catalog.DeleteTopicPermission(ctx, user, vhost, p.Exchange); err != nil {
			return answer{}, err
		}
		some = true
	}
	if !some {
		return answer{}, errMissing
	}
	return done()
}
