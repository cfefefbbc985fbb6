package api

import (
	"context"
	"slices"

	"github.com/tidegate/tidegate/core"
)

// whoami tells who asks.
func (a *API) whoami(_ context.Context, r *request) (answer, error) {
	u, _ := a.Catalog.User(r.user.User)
	return found(object{"name": u.Name, "tags": orNone(u.Tags), "is_internal_user": true})
}

// version is the version whose API is spoken, as a text.
func (a *API) version(context.Context, *request) (answer, error) { return found(CompatibleVersion) }

// overview sums up what the user sees.
func (a *API) overview(_ context.Context, r *request) (answer, error) {
	body := object{
		"management_version": CompatibleVersion, "rabbitmq_version": CompatibleVersion,
		"product_name": a.Product, "product_version": a.Version,
		"cluster_name": a.cluster(), "node": a.Node, "rates_mode": "basic",
		"disable_stats": false, "enable_queue_totals": false,
		"exchange_types": exchangeTypes(), "listeners": a.listeners(), "contexts": []object{},
	}
	totals := object{"connections": 0, "channels": 0, "consumers": 0, "queues": 0, "exchanges": 0}
	var ready, unacked uint64
	var traffic []core.Traffic
	for _, ns := range a.Catalog.Namespaces() {
		if !r.sees(ns.Name) {
			continue
		}
		sum, err := a.messagesIn(ns.Name)
		if err != nil {
			continue // deleted meanwhile
		}
		ready, unacked = ready+sum.Ready, unacked+sum.Unsettled
		traffic = append(traffic, sum.traffic)
		add(totals, "queues", sum.queues)
		if exchanges, err := a.Broker.Exchanges(ns.Name); err == nil {
			add(totals, "exchanges", len(exchanges))
		}
	}
	for _, c := range a.visibleClients(r) {
		add(totals, "connections", 1)
		if c.Channels == nil {
			continue
		}
		for _, ch := range c.Channels() {
			add(totals, "channels", 1)
			add(totals, "consumers", len(ch.Consumers))
		}
	}
	body["object_totals"] = totals
	of := r.user.User // what users see differs
	if r.seesAll() {
		of = ""
		body["churn_rates"] = a.churn()
	}
	queues := object{}
	a.putMessages(queues, key("totals", of, ""), ready, unacked)
	body["queue_totals"] = queues
	all := sumOf(traffic)
	a.putTraffic(body, key("overview", of, ""), a.started, trafficOf(&all))
	return found(body)
}

// churn tells how many connections and channels have come and gone.
func (a *API) churn() object {
	churn := a.Clients.Churn()
	o := object{}
	a.rates.putCounts(o, "churn", a.started,
		counted{name: "connection_created", value: churn.Connections}, counted{name: "connection_closed", value: churn.Gone},
		counted{name: "channel_created", value: churn.Channels}, counted{name: "channel_closed", value: churn.GoneChannels})
	return o
}

func add(totals object, name string, n int) {
	have, _ := totals[name].(int)
	totals[name] = have + n
}

// sum is what the queues of a virtual host hold together, and what went through it.
type sum struct {
	core.QueueStatus
	queues  int
	traffic core.Traffic
}

func (a *API) messagesIn(vhost string) (sum, error) {
	var s sum
	queues, err := a.Broker.Queues(vhost)
	for _, q := range queues {
		s.Ready += q.Ready
		s.Unsettled += q.Unsettled
	}
	if err != nil {
		return s, err
	}
	s.queues = len(queues)
	s.traffic, err = a.Broker.NamespaceTraffic(vhost)
	return s, err
}

func exchangeTypes() []object {
	var list []object
	for _, name := range core.ExchangeTypes() {
		list = append(list, object{"name": name, "description": "AMQP " + name + " exchange", "enabled": true})
	}
	return list
}

func (a *API) listeners() []object {
	list := []object{}
	for _, l := range a.Listeners() {
		list = append(list, object{"node": a.Node, "protocol": l.Protocol, "ip_address": l.Host, "port": l.Port, "tls": l.TLS})
	}
	return list
}

// protocols returns the protocols that clients may speak, each once.
func (a *API) protocols() []string {
	var names []string
	for _, l := range a.Listeners() {
		if !slices.Contains(names, l.Protocol) {
			names = append(names, l.Protocol)
		}
	}
	return names
}
