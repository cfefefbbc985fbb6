package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

func (a *API) describeExchange(vhost string, x core.ExchangeSpec, policies *metadata.PolicySet) object {
	o := object{
		"name": x.Name, "vhost": vhost, "type": x.Type, "durable": x.Durable, "auto_delete": x.AutoDelete,
		"internal": x.Internal, "arguments": orEmpty(x.Args),
	}
	describePolicies(o, policies, metadata.PolicyTarget{Name: x.Name, Exchange: true})
	if t, err := a.Broker.ExchangeTraffic(vhost, x.Name); err == nil {
		a.putTraffic(o, key("exchange", vhost, x.Name), a.started, exchangeTrafficOf(&t))
	}
	return o
}

func (a *API) listExchanges(_ context.Context, r *request) (answer, error) {
	names, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	var out []object
	for _, vhost := range names {
		exchanges, err := a.Broker.Exchanges(vhost)
		if errors.Is(err, core.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return answer{}, err
		}
		policies := a.policiesOf(vhost)
		for _, x := range exchanges {
			out = append(out, a.describeExchange(vhost, x, policies))
		}
	}
	return found(orNone(out))
}

func (a *API) getExchange(_ context.Context, r *request) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	x, err := a.Broker.CheckExchange(vhost, exchangeName(r.PathValue("name")))
	if err != nil {
		return answer{}, missing(err)
	}
	return found(a.describeExchange(vhost, x, a.policiesOf(vhost)))
}

// exchangeBody is what an exchange can be made with.
type exchangeBody struct {
	Name       string          `json:"name"`
	Vhost      string          `json:"vhost"`
	Type       string          `json:"type"`
	Durable    *truth          `json:"durable"`
	AutoDelete truth           `json:"auto_delete"`
	Internal   truth           `json:"internal"`
	Arguments  json.RawMessage `json:"arguments"`
}

func (b *exchangeBody) spec(name string) (core.ExchangeSpec, error) {
	args, err := decodeArguments(b.Arguments)
	spec := core.ExchangeSpec{
		Name: name, Type: b.Type, Durable: b.Durable == nil || bool(*b.Durable),
		AutoDelete: bool(b.AutoDelete), Internal: bool(b.Internal), Args: args,
	}
	if spec.Type == "" {
		spec.Type = "direct"
	}
	return spec, err
}

func (a *API) putExchange(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	var body exchangeBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	spec, err := body.spec(exchangeName(r.PathValue("name")))
	if err != nil {
		return answer{}, err
	}
	if err := r.permitExchange(vhost, spec); err != nil {
		return answer{}, err
	}
	created, err := a.makeExchange(ctx, vhost, spec)
	if err != nil {
		return answer{}, err
	}
	return put(created)
}

// permitExchange checks the permissions that a declaration needs.
func (r *request) permitExchange(vhost string, spec core.ExchangeSpec) error {
	if err := r.permit(gateway.Configure, vhost, "exchange", spec.Name); err != nil {
		return err
	}
	alternate, ok := spec.Args["alternate-exchange"].(string)
	if !ok {
		return nil
	}
	if err := r.permit(gateway.Read, vhost, "exchange", spec.Name); err != nil {
		return err
	}
	return r.permit(gateway.Write, vhost, "exchange", alternate)
}

func (a *API) makeExchange(ctx context.Context, vhost string, spec core.ExchangeSpec) (created bool, err error) {
	if len(spec.Name) > maxName {
		return false, badRequest("name of an exchange must have 1 to %d bytes", maxName)
	}
	if err := a.Dialect.CheckExchange(vhost, &spec); err != nil {
		return false, err
	}
	if _, err := a.Broker.CheckExchange(vhost, spec.Name); err == nil {
		return false, a.Broker.DeclareExchange(ctx, vhost, spec)
	}
	if reserved(spec.Name) {
		return false, notAuthorised("exchange name '%s' contains reserved prefix 'amq.*'", spec.Name)
	}
	return true, a.Broker.DeclareExchange(ctx, vhost, spec)
}

// reserved tells whether a name is one that only the server gives.
func reserved(name string) bool { return strings.HasPrefix(name, "amq.") }

func (a *API) deleteExchange(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	name := exchangeName(r.PathValue("name"))
	switch {
	case name == "":
		return answer{}, notAuthorised("operation not permitted on the default exchange")
	case reserved(name):
		return answer{}, notAuthorised("deletion of system exchange '%s' in vhost '%s' not allowed", name, vhost)
	}
	if err := r.permit(gateway.Configure, vhost, "exchange", name); err != nil {
		return answer{}, err
	}
	if _, err := a.Broker.CheckExchange(vhost, name); err != nil {
		return answer{}, missing(err)
	}
	if err := a.Broker.DeleteExchange(ctx, vhost, name, isSet(r.URL.Query(), "if-unused")); err != nil {
		return answer{}, err
	}
	return done()
}
