package api

import (
	"context"
	"slices"

	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// userBody is what a user can be made with.
type userBody struct {
	Name             string           `json:"name"`
	Password         *metadata.Secret `json:"password"`
	PasswordHash     *metadata.Secret `json:"password_hash"`
	HashingAlgorithm string           `json:"hashing_algorithm"`
	Tags             *tagList         `json:"tags"`
	Limits           map[string]int   `json:"limits"`
}

// hash returns the hash to store, or nil to keep the one there is.
func (b *userBody) hash() (*metadata.Secret, error) {
	switch {
	case b.PasswordHash != nil && *b.PasswordHash == "":
		return b.PasswordHash, nil
	case b.PasswordHash != nil:
		hash, err := gateway.ImportHash(b.HashingAlgorithm, string(*b.PasswordHash))
		return &hash, err
	case b.Password != nil && *b.Password == "":
		return nil, badRequest("password must not be empty; an empty password_hash makes a user without password")
	case b.Password != nil:
		hash := gateway.HashPassword(string(*b.Password))
		return &hash, nil
	}
	return nil, nil //nolint:nilnil // nil keeps what there is
}

func userObject(u metadata.User) object {
	o := object{"name": u.Name, "tags": orNone(u.Tags), "limits": limitsObject(u.Limits)}
	o["hashing_algorithm"], o["password_hash"] = gateway.ExportHash(u.Hash)
	return o
}

// hashPassword hashes the password of the path, for a PUT of a user with password_hash.
func (a *API) hashPassword(_ context.Context, r *request) (answer, error) {
	return found(object{"ok": gateway.ForeignHash(r.PathValue("password"))})
}

func (a *API) listUsers(context.Context, *request) (answer, error) {
	return found(list(a.Catalog.Users(), userObject))
}

// list turns all of what is listed into objects.
func list[T any](from []T, describe func(T) object) []object {
	out := make([]object, 0, len(from))
	for _, v := range from {
		out = append(out, describe(v))
	}
	return out
}

func (a *API) usersWithoutPermissions(context.Context, *request) (answer, error) {
	permissions := a.Catalog.Permissions()
	users := slices.DeleteFunc(a.Catalog.Users(), func(u metadata.User) bool {
		return slices.ContainsFunc(permissions, func(p metadata.Permission) bool { return p.User == u.Name })
	})
	return found(list(users, userObject))
}

// pathUser returns the user of the path.
func (a *API) pathUser(r *request) (metadata.User, error) {
	u, ok := a.Catalog.User(r.PathValue("user"))
	if !ok {
		return u, errMissing
	}
	return u, nil
}

func (a *API) getUser(_ context.Context, r *request) (answer, error) {
	u, err := a.pathUser(r)
	if err != nil {
		return answer{}, err
	}
	return found(userObject(u))
}

func (a *API) putUser(ctx context.Context, r *request) (answer, error) {
	var body userBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	created, err := a.makeUser(ctx, r.PathValue("user"), &body)
	if err != nil {
		return answer{}, err
	}
	return put(created)
}

// makeUser makes a user or changes the one there is: what the body does not
// give stays as it was.
func (a *API) makeUser(ctx context.Context, name string, body *userBody) (created bool, err error) {
	if name == "" || len(name) > maxName {
		return false, badRequest("name of a user must have 1 to %d bytes", maxName)
	}
	u, there := a.Catalog.User(name)
	if !there && body.Tags == nil {
		return false, keyMissing("tags")
	}
	u.Name = name
	hash, err := body.hash()
	if err != nil {
		return false, err
	}
	if hash != nil {
		u.Hash = *hash
	}
	if body.Tags != nil {
		u.Tags = *body.Tags
	}
	for limit, value := range body.Limits {
		if err := setLimit(&u.Limits, userLimits, limit, &value); err != nil {
			return false, err
		}
	}
	return !there, a.Catalog.PutUser(ctx, u)
}

func (a *API) deleteUser(ctx context.Context, r *request) (answer, error) {
	deleted, err := a.removeUser(ctx, r.PathValue("user"))
	if err != nil {
		return answer{}, err
	}
	if !deleted {
		return answer{}, errMissing
	}
	return done()
}

// removeUser deletes a user and ends its connections.
func (a *API) removeUser(ctx context.Context, name string) (bool, error) {
	deleted, err := a.Catalog.DeleteUser(ctx, name)
	if deleted {
		a.Clients.CloseAll("user '"+name+"' is deleted", func(c *gateway.Connected) bool { return c.User == name })
	}
	return deleted, err
}

func (a *API) deleteUsers(ctx context.Context, r *request) (answer, error) {
	var body struct {
		Users *[]string `json:"users"`
	}
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	if body.Users == nil {
		return answer{}, keyMissing("users")
	}
	for _, name := range *body.Users {
		if _, err := a.removeUser(ctx, name); err != nil {
			return answer{}, err
		}
	}
	return done()
}
