package api

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// rootVhost is where MQTT clients are that name no other; it can't be deleted.
const rootVhost = "/"

// tagList reads tags in both forms: a list, or a text with commas.
type tagList []string

// UnmarshalJSON reads the tags.
func (t *tagList) UnmarshalJSON(text []byte) error {
	var list []string
	if json.Unmarshal(text, &list) == nil {
		*t = list
		return nil
	}
	var joined string
	if err := json.Unmarshal(text, &joined); err != nil {
		return err
	}
	*t = nil
	for tag := range strings.SplitSeq(joined, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			*t = append(*t, tag)
		}
	}
	return nil
}

// vhostBody is what a virtual host can be made with. Durability is Tidegate's.
type vhostBody struct {
	Name             string  `json:"name"`
	Description      *string `json:"description"`
	Tags             tagList `json:"tags"`
	Tracing          any     `json:"tracing"`
	DefaultQueueType string  `json:"default_queue_type"`
	Durability       string  `json:"durability"`
	Metadata         struct {
		Description      *string `json:"description"`
		Tags             tagList `json:"tags"`
		DefaultQueueType string  `json:"default_queue_type"`
		Durability       string  `json:"durability"`
	} `json:"metadata"`
}

// apply sets what the body gives, and refuses what is not there.
func (b *vhostBody) apply(ns *metadata.Namespace) error {
	for _, kind := range []string{b.Metadata.DefaultQueueType, b.DefaultQueueType} {
		switch kind {
		case "":
		case "undefined":
			ns.DefaultQueueType = ""
		case classicQueue, "quorum", "stream":
			ns.DefaultQueueType = kind
		default:
			return badRequest("Unsupported default queue type '%s'", kind)
		}
	}
	if b.Tracing == true || b.Tracing == "true" {
		return badRequest("tracing is not supported in this version")
	}
	for _, text := range []*string{b.Metadata.Description, b.Description} {
		if text != nil {
			ns.Description = *text
		}
	}
	for _, tags := range []tagList{b.Metadata.Tags, b.Tags} {
		if tags != nil {
			ns.Tags = tags
		}
	}
	for _, durability := range []string{b.Metadata.Durability, b.Durability} {
		switch durability {
		case "":
		case "fsync", "os", "memory":
			ns.Durability = durability
		default:
			return badRequest("durability '%s' is none of fsync, os, memory", durability)
		}
	}
	return nil
}

func vhostObject(ns metadata.Namespace) object {
	queueType := cmp.Or(ns.DefaultQueueType, classicQueue)
	about := object{"description": ns.Description, "tags": orNone(ns.Tags), "default_queue_type": queueType}
	if ns.Durability != "" {
		about["durability"] = ns.Durability
	}
	return object{
		"name": ns.Name, "description": ns.Description, "tags": orNone(ns.Tags), "metadata": about,
		"default_queue_type": queueType, "tracing": false,
	}
}

func (a *API) describeVhost(ns metadata.Namespace) object {
	o := vhostObject(ns)
	o["cluster_state"] = object{a.Node: "running"}
	if s, err := a.messagesIn(ns.Name); err == nil {
		a.putMessages(o, key("messages of vhost", ns.Name, ""), s.Ready, s.Unsettled)
		a.putTraffic(o, key("vhost", ns.Name, ""), a.started, trafficOf(&s.traffic))
	}
	received, sent := a.Clients.Traffic(ns.Name)
	a.rates.putCounts(o, key("octets", ns.Name, ""), a.started,
		counted{name: "recv_oct", value: received}, counted{name: "send_oct", value: sent})
	return o
}

func (a *API) listVhosts(_ context.Context, r *request) (answer, error) {
	var list []object
	for _, ns := range a.Catalog.Namespaces() {
		if r.sees(ns.Name) {
			list = append(list, a.describeVhost(ns))
		}
	}
	return found(list)
}

func (a *API) getVhost(_ context.Context, r *request) (answer, error) {
	name, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	ns, _ := a.Catalog.Namespace(name)
	return found(a.describeVhost(ns))
}

func (a *API) putVhost(ctx context.Context, r *request) (answer, error) {
	var body vhostBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	name := r.PathValue("vhost")
	created, err := a.makeVhost(ctx, name, &body)
	if err != nil {
		return answer{}, err
	}
	if created { // whoever makes a virtual host may do everything in it
		all := ".*"
		if _, err := a.makePermission(ctx, r.user.User, name, &permissionBody{Configure: &all, Write: &all, Read: &all}); err != nil {
			return answer{}, err
		}
	}
	return put(created)
}

// maxName is the length of the longest name.
const maxName = 255

func (a *API) makeVhost(ctx context.Context, name string, body *vhostBody) (created bool, err error) {
	if name == "" || len(name) > maxName {
		return false, badRequest("name of a virtual host must have 1 to %d bytes", maxName)
	}
	ns, there := a.Catalog.Namespace(name)
	ns.Name = name
	if err := body.apply(&ns); err != nil {
		return false, err
	}
	return !there, a.Catalog.PutNamespace(ctx, ns)
}

func (a *API) deleteVhost(ctx context.Context, r *request) (answer, error) {
	name := r.PathValue("vhost")
	if name == rootVhost {
		return answer{}, badRequest("virtual host '/' can't be deleted")
	}
	if _, ok := a.Catalog.Namespace(name); !ok {
		return answer{}, errMissing
	}
	// Once before, so that after a crash in between there are no sessions of a
	// virtual host that is gone, and once for those that came meanwhile.
	if err := a.endClients(ctx, name); err != nil {
		return answer{}, err
	}
	if _, err := a.Catalog.DeleteNamespace(ctx, name); err != nil {
		return answer{}, err
	}
	if err := a.endClients(ctx, name); err != nil {
		return answer{}, err
	}
	a.Clients.Forget(name)
	return done()
}

// endClients ends the connections and the sessions in a virtual host.
func (a *API) endClients(ctx context.Context, vhost string) error {
	a.Clients.CloseAll("vhost '"+vhost+"' is deleted", func(c *gateway.Connected) bool { return c.Namespace == vhost })
	return a.Broker.EndSessions(ctx, vhost)
}
