package api

import (
	"context"
	"regexp"
	"slices"

	"github.com/tidegate/tidegate/metadata"
)

// checkPatterns refuses what is no regular expression.
func checkPatterns(named map[string]*string) error {
	for name, pattern := range named {
		if pattern == nil {
			return keyMissing(name)
		}
		if _, err := regexp.Compile(*pattern); err != nil {
			return badRequest("%s is no regular expression: %v", name, err)
		}
	}
	return nil
}

func permissionObject(p metadata.Permission) object {
	return object{"user": p.User, "vhost": p.Namespace, "configure": p.Configure, "write": p.Write, "read": p.Read}
}

// permissionBody is what a permission is made of.
type permissionBody struct {
	User      string  `json:"user"`
	Vhost     string  `json:"vhost"`
	Configure *string `json:"configure"`
	Write     *string `json:"write"`
	Read      *string `json:"read"`
}

func (a *API) listPermissions(context.Context, *request) (answer, error) {
	return found(list(a.Catalog.Permissions(), permissionObject))
}

func (a *API) vhostPermissions(_ context.Context, r *request) (answer, error) {
	name, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	return found(list(slices.DeleteFunc(a.Catalog.Permissions(), func(p metadata.Permission) bool {
		return p.Namespace != name
	}), permissionObject))
}

func (a *API) userPermissions(_ context.Context, r *request) (answer, error) {
	u, err := a.pathUser(r)
	if err != nil {
		return answer{}, err
	}
	return found(list(slices.DeleteFunc(a.Catalog.Permissions(), func(p metadata.Permission) bool {
		return p.User != u.Name
	}), permissionObject))
}

func (a *API) getPermission(_ context.Context, r *request) (answer, error) {
	p, ok := a.Catalog.Permission(r.PathValue("user"), r.PathValue("vhost"))
	if !ok {
		return answer{}, errMissing
	}
	return found(permissionObject(p))
}

func (a *API) putPermission(ctx context.Context, r *request) (answer, error) {
	var body permissionBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	created, err := a.makePermission(ctx, r.PathValue("user"), r.PathValue("vhost"), &body)
	if err != nil {
		return answer{}, err
	}
	return put(created)
}

func (a *API) makePermission(ctx context.Context, user, vhost string, body *permissionBody) (created bool, err error) {
	patterns := map[string]*string{"configure": body.Configure, "write": body.Write, "read": body.Read}
	if err := checkPatterns(patterns); err != nil {
		return false, err
	}
	if err := a.bothThere(user, vhost); err != nil {
		return false, err
	}
	_, there := a.Catalog.Permission(user, vhost)
	return !there, a.Catalog.PutPermission(ctx, metadata.Permission{
		User: user, Namespace: vhost, Configure: *body.Configure, Write: *body.Write, Read: *body.Read,
	})
}

// bothThere refuses a permission of a user or in a virtual host that is not there.
func (a *API) bothThere(user, vhost string) error {
	_, isUser := a.Catalog.User(user)
	_, isVhost := a.Catalog.Namespace(vhost)
	if isUser && isVhost {
		return nil
	}
	return badRequest("vhost_or_user_not_found")
}

func (a *API) deletePermission(ctx context.Context, r *request) (answer, error) {
	deleted, err := a.Catalog.DeletePermission(ctx, r.PathValue("user"), r.PathValue("vhost"))
	if err != nil {
		return answer{}, err
	}
	if !deleted {
		return answer{}, errMissing
	}
	return done()
}
