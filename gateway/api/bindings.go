package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// propertiesKey names a binding among those of the same two ends: the routing
// key, escaped, and a digest of the arguments if there are some.
func propertiesKey(b *core.BindingSpec) string {
	key := strings.ReplaceAll(url.PathEscape(b.Key), "~", "%7E")
	if len(b.Args) > 0 {
		text, err := json.Marshal(b.Args)
		if err != nil {
			text = nil // what JSON can't say has one name for all
		}
		sum := sha256.Sum256(text)
		return key + "~" + base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	if key == "" {
		return "~"
	}
	return key
}

func destinationType(toExchange bool) string {
	if toExchange {
		return "exchange"
	}
	return "queue"
}

func describeBinding(vhost string, b *core.BindingSpec) object {
	return object{
		"source": b.Source, "vhost": vhost, "destination": b.Dest, "destination_type": destinationType(b.ToExchange),
		"routing_key": b.Key, "arguments": orEmpty(b.Args), "properties_key": propertiesKey(b),
	}
}

// someBindings lists the bindings of virtual hosts that keep chooses.
func (a *API) someBindings(vhosts []string, keep func(*core.BindingSpec) bool) (answer, error) {
	var out []object
	for _, vhost := range vhosts {
		all, err := a.Broker.Bindings(vhost)
		if errors.Is(err, core.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return answer{}, err
		}
		for i := range all {
			if b := &all[i].BindingSpec; keep(b) {
				out = append(out, describeBinding(vhost, b))
			}
		}
	}
	return found(orNone(out))
}

func (a *API) listBindings(_ context.Context, r *request) (answer, error) {
	names, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	return a.someBindings(names, func(*core.BindingSpec) bool { return true })
}

func (a *API) queueBindings(_ context.Context, r *request) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	name := r.PathValue("name")
	if _, err := a.Broker.Queue(vhost, name); err != nil {
		return answer{}, missing(err)
	}
	return a.someBindings([]string{vhost}, func(b *core.BindingSpec) bool { return !b.ToExchange && b.Dest == name })
}

// exchangeBindings lists the bindings of the path's exchange at one of its sides.
func (a *API) exchangeBindings(r *request, at func(*core.BindingSpec, string) bool) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	name := exchangeName(r.PathValue("name"))
	if _, err := a.Broker.CheckExchange(vhost, name); err != nil {
		return answer{}, missing(err)
	}
	return a.someBindings([]string{vhost}, func(b *core.BindingSpec) bool { return at(b, name) })
}

func (a *API) bindingsFrom(_ context.Context, r *request) (answer, error) {
	return a.exchangeBindings(r, func(b *core.BindingSpec, name string) bool { return b.Source == name })
}

func (a *API) bindingsTo(_ context.Context, r *request) (answer, error) {
	return a.exchangeBindings(r, func(b *core.BindingSpec, name string) bool { return b.ToExchange && b.Dest == name })
}

// bindings are the routes of bindings to one kind of destination.
type bindings struct {
	*API
	toExchange bool
}

// between returns the two ends of the path.
func (b bindings) between(r *request) (source, dest string) {
	dest = r.PathValue("dest")
	if b.toExchange {
		dest = exchangeName(dest)
	}
	return exchangeName(r.PathValue("source")), dest
}

// of chooses the bindings between the two ends of the path.
func (b bindings) of(r *request) func(*core.BindingSpec) bool {
	source, dest := b.between(r)
	return func(s *core.BindingSpec) bool {
		return s.Source == source && s.Dest == dest && s.ToExchange == b.toExchange
	}
}

func (b bindings) list(_ context.Context, r *request) (answer, error) {
	vhost, err := b.vhost(r)
	if err != nil {
		return answer{}, err
	}
	return b.someBindings([]string{vhost}, b.of(r))
}

// find returns the binding that the path names by its properties.
func (b bindings) find(r *request, vhost string) (core.BindingSpec, error) {
	all, err := b.Broker.Bindings(vhost)
	if err != nil {
		return core.BindingSpec{}, missing(err)
	}
	between := b.of(r)
	for i := range all {
		if s := &all[i].BindingSpec; between(s) && named(propertiesKey(s), r.PathValue("props")) {
			return *s, nil
		}
	}
	return core.BindingSpec{}, errMissing
}

// named tells whether a part of the path is the properties key. Programs put the
// key there as it is, or escape it once more.
func named(key, part string) bool {
	plain, err := url.PathUnescape(key)
	return part == key || err == nil && part == plain
}

func (b bindings) get(_ context.Context, r *request) (answer, error) {
	vhost, err := b.vhost(r)
	if err != nil {
		return answer{}, err
	}
	spec, err := b.find(r, vhost)
	if err != nil {
		return answer{}, err
	}
	return found(describeBinding(vhost, &spec))
}

// permitBinding checks the permissions that a change of a binding needs.
func (a *API) permitBinding(r *request, vhost string, s *core.BindingSpec) error {
	if s.Source == "" || s.ToExchange && s.Dest == "" {
		return notAuthorised("operation not permitted on the default exchange")
	}
	if err := r.permit(gateway.Write, vhost, destinationType(s.ToExchange), s.Dest); err != nil {
		return err
	}
	if err := r.permit(gateway.Read, vhost, "exchange", s.Source); err != nil {
		return err
	}
	return a.permitTopic(r, gateway.Read, vhost, s.Source, s.Key)
}

// bindingBody is what a binding is made of.
type bindingBody struct {
	Source          string          `json:"source"`
	Vhost           string          `json:"vhost"`
	Destination     string          `json:"destination"`
	DestinationType string          `json:"destination_type"`
	RoutingKey      string          `json:"routing_key"`
	Arguments       json.RawMessage `json:"arguments"`
}

// spec is the binding of definitions.
func (b *bindingBody) spec() (core.BindingSpec, error) {
	spec := core.BindingSpec{
		Source: b.Source, Dest: b.Destination, ToExchange: b.DestinationType == "exchange", Key: b.RoutingKey,
	}
	if b.DestinationType != "queue" && b.DestinationType != "exchange" {
		return spec, badRequest("destination_type '%s' is not known", b.DestinationType)
	}
	var err error
	spec.Args, err = decodeArguments(b.Arguments)
	return spec, err
}

func (b bindings) create(ctx context.Context, r *request) (answer, error) {
	vhost, err := b.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	var body bindingBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	spec := core.BindingSpec{ToExchange: b.toExchange, Key: body.RoutingKey}
	spec.Source, spec.Dest = b.between(r)
	if spec.Args, err = decodeArguments(body.Arguments); err != nil {
		return answer{}, err
	}
	if err := b.permitBinding(r, vhost, &spec); err != nil {
		return answer{}, err
	}
	if err := b.Broker.Bind(ctx, vhost, spec); err != nil {
		return answer{}, err
	}
	here := r.PathValue("dest") + "/" + propertiesKey(&spec)
	return answer{status: http.StatusCreated, location: (&url.URL{Path: here}).EscapedPath()}, nil
}

func (b bindings) delete(ctx context.Context, r *request) (answer, error) {
	vhost, err := b.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	spec, err := b.find(r, vhost)
	if err != nil {
		return answer{}, err
	}
	if err := b.permitBinding(r, vhost, &spec); err != nil {
		return answer{}, err
	}
	if err := b.Broker.Unbind(ctx, vhost, spec); err != nil {
		return answer{}, err
	}
	return done()
}
