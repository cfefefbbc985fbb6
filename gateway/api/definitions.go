package api

import (
	"context"
	"slices"

	"github.com/tidegate/tidegate/metadata"
)

// definitions is the file that programs export and import: all that is durable
// but messages.
type definitions struct {
	Users            []userBody       `json:"users"`
	Vhosts           []vhostBody      `json:"vhosts"`
	Permissions      []permissionBody `json:"permissions"`
	TopicPermissions []topicBody      `json:"topic_permissions"`
	Parameters       []parameterBody  `json:"parameters"`
	GlobalParameters []parameterBody  `json:"global_parameters"`
	Policies         []policyBody     `json:"policies"`
	Queues           []queueBody      `json:"queues"`
	Exchanges        []exchangeBody   `json:"exchanges"`
	Bindings         []bindingBody    `json:"bindings"`
}

func (a *API) exportAll(context.Context, *request) (answer, error) {
	var names []string
	var vhosts []object
	for _, ns := range a.Catalog.Namespaces() {
		names = append(names, ns.Name)
		vhosts = append(vhosts, vhostObject(ns))
	}
	o := a.header()
	o["users"] = list(a.Catalog.Users(), userObject)
	o["vhosts"] = orNone(vhosts)
	o["permissions"] = list(a.Catalog.Permissions(), permissionObject)
	o["topic_permissions"] = list(a.Catalog.TopicPermissions(), topicObject)
	o["global_parameters"] = a.globals()
	a.exportObjects(o, names)
	return found(o)
}

func (a *API) exportVhost(_ context.Context, r *request) (answer, error) {
	name, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	o := a.header()
	a.exportObjects(o, []string{name})
	for _, part := range []string{"queues", "exchanges", "bindings", "policies", "parameters"} {
		objects, _ := o[part].([]object)
		for _, one := range objects {
			delete(one, "vhost")
		}
	}
	return found(o)
}

func (a *API) header() object {
	return object{
		"rabbit_version": CompatibleVersion, "rabbitmq_version": CompatibleVersion,
		"product_name": a.Product, "product_version": a.Version, "rabbitmq_definition_format": "cluster",
	}
}

// exportObjects adds what lies in the virtual hosts.
func (a *API) exportObjects(o object, vhosts []string) {
	inside := func(vhost string) bool { return slices.Contains(vhosts, vhost) }
	o["policies"] = list(slices.DeleteFunc(a.Catalog.Policies(false), func(p metadata.Policy) bool {
		return !inside(p.Namespace)
	}), policyObject)
	o["parameters"] = a.parameters(inside)
	queues, exchanges, bindings := []object{}, []object{}, []object{}
	for _, vhost := range vhosts {
		for _, q := range a.Catalog.Queues(vhost) {
			queues = append(queues, object{
				"name": q.Name, "vhost": vhost, "durable": true, "auto_delete": q.AutoDelete,
				"type": queueType(q.Args), "arguments": orEmpty(q.Args),
			})
		}
		for _, x := range a.Catalog.Exchanges(vhost) {
			exchanges = append(exchanges, object{
				"name": x.Name, "vhost": vhost, "type": x.Type, "durable": true, "auto_delete": x.AutoDelete,
				"internal": x.Internal, "arguments": orEmpty(x.Args),
			})
		}
		for _, b := range a.Catalog.Bindings(vhost) {
			bindings = append(bindings, object{
				"source": b.Source, "vhost": vhost, "destination": b.Dest,
				"destination_type": destinationType(b.ToExchange), "routing_key": b.Key, "arguments": orEmpty(b.Args),
			})
		}
	}
	o["queues"], o["exchanges"], o["bindings"] = queues, exchanges, bindings
}
