package api

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// classicQueue is the type of queues of which nothing else is said.
const classicQueue = "classic"

// queueType is the type of a queue by its arguments.
func queueType(args map[string]any) string {
	if t, ok := args["x-queue-type"].(string); ok {
		return t
	}
	return classicQueue
}

// describeQueue is a queue in a list.
func (a *API) describeQueue(vhost string, q core.QueueInfo, policies *metadata.PolicySet) object {
	o := object{}
	name := q.QueueSpec.Name
	a.putMessages(o, key("messages", vhost, name), q.Ready, q.Unsettled)
	a.putTraffic(o, key("queue", vhost, name), a.started, queueTrafficOf(&q.Traffic))
	putIdle(o, q.Traffic.Used)
	o["name"], o["vhost"], o["node"] = name, vhost, a.Node
	o["durable"], o["auto_delete"], o["exclusive"] = q.Durable, q.AutoDelete, q.Exclusive
	o["arguments"], o["type"], o["state"] = orEmpty(q.Args), queueType(q.Args), "running"
	o["consumers"] = q.Consumers
	describePolicies(o, policies, metadata.PolicyTarget{Name: name, QueueType: queueType(q.Args)})
	return o
}

func (a *API) listQueues(_ context.Context, r *request) (answer, error) {
	names, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	query := r.URL.Query()
	withoutStats := isSet(query, "disable_stats")
	chosen := a.chosenConsumers()
	var out []object
	for _, vhost := range names {
		queues, err := a.Broker.Queues(vhost)
		if errors.Is(err, core.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return answer{}, err
		}
		policies := a.policiesOf(vhost)
		for _, q := range queues {
			o := a.describeQueue(vhost, q, policies)
			putTags(o, &q, chosen[queueID{vhost, q.QueueSpec.Name}])
			if withoutStats {
				leaveOutStats(o, isSet(query, "enable_queue_totals"))
			}
			out = append(out, o)
		}
	}
	return found(orNone(out))
}

// leaveOutStats removes what changes with messages and consumers, but for the
// numbers of messages if they are asked for.
func leaveOutStats(o object, totals bool) {
	for _, name := range []string{"consumers", "message_stats", "idle_since", "exclusive_consumer_tag", "single_active_consumer_tag"} {
		delete(o, name)
	}
	for _, name := range []string{"messages", "messages_ready", "messages_unacknowledged"} {
		delete(o, name+"_details")
		if !totals {
			delete(o, name)
		}
	}
}

func (a *API) getQueue(_ context.Context, r *request) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	q, err := a.Broker.Queue(vhost, r.PathValue("name"))
	if err != nil {
		return answer{}, missing(err)
	}
	o := a.describeQueue(vhost, q, a.policiesOf(vhost))
	putTags(o, &q, a.chosenConsumers()[queueID{vhost, q.QueueSpec.Name}])
	consumers := a.consumersOf(vhost, q.QueueSpec.Name)
	o["consumer_details"] = consumers
	if q.Exclusive {
		if c := a.connectionOf(q.Owner); c != nil {
			o["owner_pid_details"] = connectionDetails(c)
		}
	}
	return found(o)
}

// queueID names a queue among those of all virtual hosts.
type queueID struct{ vhost, name string }

// chosen are the tags of the consumers of a queue that are not as others.
type chosen struct{ exclusive, active string }

// chosenConsumers finds them for all queues at once, since each look asks every channel.
func (a *API) chosenConsumers() map[queueID]chosen {
	all := map[queueID]chosen{}
	for _, c := range a.Clients.List() {
		if c.Channels == nil {
			continue
		}
		for _, ch := range c.Channels() {
			for i := range ch.Consumers {
				k := &ch.Consumers[i]
				of := all[queueID{c.Namespace, k.Queue}]
				if k.Exclusive {
					of.exclusive = k.Tag
				}
				if !k.Waiting && of.active == "" {
					of.active = k.Tag
				}
				all[queueID{c.Namespace, k.Queue}] = of
			}
		}
	}
	return all
}

// putTags tells which consumer has a queue for itself, and which is the active one where
// one is at a time.
func putTags(o object, q *core.QueueInfo, of chosen) {
	o["exclusive_consumer_tag"], o["single_active_consumer_tag"] = nil, nil
	if of.exclusive != "" {
		o["exclusive_consumer_tag"] = of.exclusive
	}
	if of.active != "" && q.Args["x-single-active-consumer"] == true {
		o["single_active_consumer_tag"] = of.active
	}
}

// queueAction is what one may do with a queue beside the rest: RabbitMQ's are about its
// mirrors, of which there are none.
func (a *API) queueAction(_ context.Context, r *request) (answer, error) {
	if _, _, err := a.existingQueue(r, gateway.Configure); err != nil {
		return answer{}, err
	}
	var body struct {
		Action string `json:"action"`
	}
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	switch body.Action {
	case "sync", "cancel_sync":
		return done()
	case "":
		return answer{}, keyMissing("action")
	}
	return answer{}, badRequest("unknown action '%s'", body.Action)
}

// missing turns the engine's ErrNotFound into RabbitMQ's bare words.
func missing(err error) error {
	if errors.Is(err, core.ErrNotFound) {
		return errMissing
	}
	return err
}

// queueBody is what a queue can be made with.
type queueBody struct {
	Name       string          `json:"name"`
	Vhost      string          `json:"vhost"`
	Durable    *truth          `json:"durable"`
	AutoDelete truth           `json:"auto_delete"`
	Exclusive  truth           `json:"exclusive"`
	Arguments  json.RawMessage `json:"arguments"`
}

// spec is the declaration that the body asks for; durable unless it says no.
func (b *queueBody) spec(name string) (core.QueueSpec, error) {
	args, err := decodeArguments(b.Arguments)
	spec := core.QueueSpec{
		Name: name, Durable: b.Durable == nil || bool(*b.Durable), AutoDelete: bool(b.AutoDelete), Args: args,
	}
	if b.Exclusive {
		err = badRequest("an exclusive queue belongs to a connection, which a request is not")
	}
	return spec, err
}

func (a *API) putQueue(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	var body queueBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	spec, err := body.spec(r.PathValue("name"))
	if err != nil {
		return answer{}, err
	}
	if err := r.permitQueue(vhost, spec); err != nil {
		return answer{}, err
	}
	a.Broker.GiveQueueType(vhost, &spec)
	created, err := a.makeQueue(ctx, vhost, spec)
	if err != nil {
		return answer{}, err
	}
	return put(created)
}

// permitQueue checks the permissions that a declaration needs.
func (r *request) permitQueue(vhost string, spec core.QueueSpec) error {
	if err := r.permit(gateway.Configure, vhost, "queue", spec.Name); err != nil {
		return err
	}
	exchange, ok := spec.Args["x-dead-letter-exchange"].(string)
	if !ok {
		return nil
	}
	if err := r.permit(gateway.Read, vhost, "queue", spec.Name); err != nil {
		return err
	}
	return r.permit(gateway.Write, vhost, "exchange", exchange)
}

func (a *API) makeQueue(ctx context.Context, vhost string, spec core.QueueSpec) (created bool, err error) {
	if len(spec.Name) > maxName {
		return false, badRequest("name of a queue must have 1 to %d bytes", maxName)
	}
	if err := a.Dialect.CheckQueue(vhost, &spec); err != nil {
		return false, err
	}
	_, err = a.Broker.Queue(vhost, spec.Name)
	_, declareErr := a.Broker.DeclareQueue(ctx, vhost, spec)
	return err != nil, declareErr
}

func (a *API) deleteQueue(ctx context.Context, r *request) (answer, error) {
	vhost, name, err := a.existingQueue(r, gateway.Configure)
	if err != nil {
		return answer{}, err
	}
	query := r.URL.Query()
	if _, err := a.Broker.DeleteQueue(ctx, vhost, name, owner, isSet(query, "if-unused"), isSet(query, "if-empty")); err != nil {
		return answer{}, err
	}
	return done()
}

// isSet tells whether an option is in the query, with any value but false.
func isSet(query map[string][]string, name string) bool {
	values, ok := query[name]
	return ok && (len(values) == 0 || values[0] != "false")
}

// existingQueue returns the queue of the path, if the user may do op on it.
func (a *API) existingQueue(r *request, op gateway.Operation) (vhost, name string, err error) {
	if vhost, err = a.ownVhost(r); err != nil {
		return "", "", err
	}
	name = r.PathValue("name")
	if err := r.permit(op, vhost, "queue", name); err != nil {
		return "", "", err
	}
	if _, err := a.Broker.Queue(vhost, name); err != nil {
		return "", "", missing(err)
	}
	return vhost, name, nil
}

func (a *API) purgeQueue(ctx context.Context, r *request) (answer, error) {
	vhost, name, err := a.existingQueue(r, gateway.Read)
	if err != nil {
		return answer{}, err
	}
	if _, err := a.Broker.PurgeQueue(ctx, vhost, name, owner); err != nil {
		return answer{}, err
	}
	return done()
}
