package api

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// The components of parameters that there are. Limits and operator policies are
// kept where they take effect; what federation would link is only kept.
const (
	componentLimits      = "vhost-limits"
	componentOperator    = "operator_policy"
	componentPolicy      = "policy"
	componentUpstream    = "federation-upstream"
	componentUpstreamSet = "federation-upstream-set"
)

// nameLimits is the one name that the limits of a virtual host have.
const nameLimits = "limits"

// parameterBody is a setting of a plugin, or a limit of a virtual host, or an
// operator policy.
type parameterBody struct {
	Vhost     string          `json:"vhost"`
	Component string          `json:"component"`
	Name      string          `json:"name"`
	Value     json.RawMessage `json:"value"`
}

// parameters describes the parameters in the virtual hosts that are seen.
func (a *API) parameters(sees func(vhost string) bool) []object {
	out := []object{}
	for _, ns := range a.Catalog.Namespaces() {
		if limits := limitsObject(ns.Limits); sees(ns.Name) && len(limits) > 0 {
			out = append(out, object{"vhost": ns.Name, "component": componentLimits, "name": nameLimits, "value": limits})
		}
	}
	for _, p := range a.Catalog.Policies(true) {
		if !sees(p.Namespace) {
			continue
		}
		value := policyObject(p)
		delete(value, "name")
		delete(value, "vhost")
		out = append(out, object{"vhost": p.Namespace, "component": componentOperator, "name": p.Name, "value": value})
	}
	for _, p := range a.Catalog.Parameters() {
		if sees(p.Namespace) {
			out = append(out, object{"vhost": p.Namespace, "component": p.Component, "name": p.Name, "value": p.Value})
		}
	}
	return out
}

func (a *API) listParameters(_ context.Context, r *request) (answer, error) {
	vhosts, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	all := a.parameters(func(vhost string) bool { return slices.Contains(vhosts, vhost) })
	if component := r.PathValue("component"); component != "" {
		all = slices.DeleteFunc(all, func(o object) bool { return o["component"] != component })
	}
	return found(all)
}

// findParameter returns the parameter of the path.
func (a *API) findParameter(vhost string, r *request) (object, bool) {
	all := a.parameters(func(name string) bool { return name == vhost })
	i := slices.IndexFunc(all, func(o object) bool {
		return o["component"] == r.PathValue("component") && o["name"] == r.PathValue("name")
	})
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

func (a *API) getParameter(_ context.Context, r *request) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	o, ok := a.findParameter(vhost, r)
	if !ok {
		return answer{}, errMissing
	}
	return found(o)
}

// changed returns the virtual host in which the user may change the parameter of
// the path: limits and operator policies are the administrator's.
func (a *API) changed(r *request) (vhost string, err error) {
	if vhost, err = a.ownVhost(r); err != nil {
		return "", err
	}
	switch r.PathValue("component") {
	case componentLimits, componentOperator:
		if !r.user.HasTag(gateway.TagAdministrator) {
			return "", notAuthorised("User not authorised to change limits and operator policies")
		}
	}
	return vhost, nil
}

func (a *API) putParameter(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.changed(r)
	if err != nil {
		return answer{}, err
	}
	var body parameterBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	body.Vhost, body.Component, body.Name = vhost, r.PathValue("component"), r.PathValue("name")
	do, err := a.makeParameter(&body)
	if err != nil {
		return answer{}, err
	}
	_, there := a.findParameter(vhost, r)
	if err := do(ctx); err != nil {
		return answer{}, err
	}
	return put(!there)
}

// makeParameter checks a parameter and returns the step that keeps it.
func (a *API) makeParameter(p *parameterBody) (step, error) {
	if len(p.Value) == 0 {
		return nil, keyMissing("value")
	}
	switch p.Component {
	case componentLimits:
		return a.importLimits(p)
	case componentPolicy:
		return nil, badRequest("policies may not be set using this method")
	case componentOperator:
		var body policyBody
		if err := json.Unmarshal(p.Value, &body); err != nil {
			return nil, badRequest("value is no policy: %v", err)
		}
		return a.importPolicy(&body, p.Vhost, p.Name, true)
	case componentUpstream:
		var value map[string]json.RawMessage
		if err := json.Unmarshal(p.Value, &value); err != nil || value["uri"] == nil {
			return nil, badRequest("Validation failed\n\nKey \"uri\" not found in %s\n", p.Name)
		}
	case componentUpstreamSet:
		var value []map[string]json.RawMessage
		if err := json.Unmarshal(p.Value, &value); err != nil {
			return nil, badRequest("Validation failed\n\n%s should be list\n", p.Name)
		}
	default:
		return nil, badRequest("Validation failed\n\ncomponent %s not found\n", p.Component)
	}
	kept := metadata.Parameter{Namespace: p.Vhost, Component: p.Component, Name: p.Name, Value: compact(p.Value)}
	return func(ctx context.Context) error { return a.Catalog.PutParameter(ctx, kept) }, nil
}

// compact leaves out the white space of a value that is JSON.
func compact(value json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return value // then it is refused where it is stored
	}
	return b.Bytes()
}

func keyMissing(key string) error { return badRequest("[{key_missing,%s}]", key) }

func (a *API) deleteParameter(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.changed(r)
	if err != nil {
		return answer{}, err
	}
	if _, there := a.findParameter(vhost, r); !there {
		return answer{}, errMissing
	}
	component, name := r.PathValue("component"), r.PathValue("name")
	switch component {
	case componentLimits:
		ns, _ := a.Catalog.Namespace(vhost)
		ns.Limits = metadata.Limits{}
		err = a.Catalog.PutNamespace(ctx, ns)
	case componentOperator:
		_, err = a.Catalog.DeletePolicy(ctx, vhost, name, true)
	default:
		_, err = a.Catalog.DeleteParameter(ctx, vhost, component, name)
	}
	if err != nil {
		return answer{}, err
	}
	return done()
}

// parameterClusterName is the global parameter with the name of the cluster.
const parameterClusterName = "cluster_name"

// cluster is the name of the cluster: the one that was given, else the configured.
func (a *API) cluster() any {
	for _, p := range a.Catalog.GlobalParameters() {
		if p.Name == parameterClusterName {
			return p.Value
		}
	}
	return a.Cluster
}

// globals describes the global parameters, of which the name of the cluster is one
// whatever it is.
func (a *API) globals() []object {
	out := []object{{"name": parameterClusterName, "value": a.cluster()}}
	for _, p := range a.Catalog.GlobalParameters() {
		if p.Name != parameterClusterName {
			out = append(out, object{"name": p.Name, "value": p.Value})
		}
	}
	return out
}

func (a *API) globalParameters(context.Context, *request) (answer, error) { return found(a.globals()) }

func (a *API) findGlobal(name string) (object, bool) {
	for _, o := range a.globals() {
		if o["name"] == name {
			return o, true
		}
	}
	return nil, false
}

func (a *API) getGlobalParameter(_ context.Context, r *request) (answer, error) {
	o, ok := a.findGlobal(r.PathValue("name"))
	if !ok {
		return answer{}, errMissing
	}
	return found(o)
}

func (a *API) putGlobalParameter(ctx context.Context, r *request) (answer, error) {
	var body parameterBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	body.Name = r.PathValue("name")
	_, there := a.findGlobal(body.Name)
	if err := a.makeGlobal(ctx, &body); err != nil {
		return answer{}, err
	}
	return put(!there)
}

func (a *API) makeGlobal(ctx context.Context, p *parameterBody) error {
	if len(p.Value) == 0 {
		return keyMissing("value")
	}
	return a.Catalog.PutGlobalParameter(ctx, metadata.GlobalParameter{Name: p.Name, Value: compact(p.Value)})
}

func (a *API) deleteGlobalParameter(ctx context.Context, r *request) (answer, error) {
	deleted, err := a.Catalog.DeleteGlobalParameter(ctx, r.PathValue("name"))
	if err != nil {
		return answer{}, err
	}
	if !deleted {
		return answer{}, errMissing
	}
	return done()
}

func (a *API) clusterName(context.Context, *request) (answer, error) {
	return found(object{"name": a.cluster()})
}

func (a *API) putClusterName(ctx context.Context, r *request) (answer, error) {
	var body struct {
		Name *string `json:"name"`
	}
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	if body.Name == nil {
		return answer{}, keyMissing("name")
	}
	value, err := json.Marshal(*body.Name)
	if err != nil {
		return answer{}, err
	}
	err = a.Catalog.PutGlobalParameter(ctx, metadata.GlobalParameter{Name: parameterClusterName, Value: value})
	if err != nil {
		return answer{}, err
	}
	return done()
}
