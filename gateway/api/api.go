// Package api is the HTTP API that programs for RabbitMQ's management plugin
// call: users, permissions, virtual hosts, queues, exchanges, bindings,
// connections, policies, definitions and health checks. A namespace goes by the
// name of virtual host here. Every route is a line in the table of routes.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// Dialect are the rules of the protocol whose names and refusals the API
// speaks, so that the API refuses what a client of it would be refused.
type Dialect struct {
	// CheckQueue and CheckExchange refuse declarations that can't be carried
	// out, and remove the arguments that change nothing.
	CheckQueue    func(namespace string, spec *core.QueueSpec) error
	CheckExchange func(namespace string, spec *core.ExchangeSpec) error
	// Refusal returns the protocol's code and words for an error.
	Refusal func(err error) (code int, text string)
	// Copies returns the further routing keys that the properties ask for, and of
	// them those that no receiver is to see, which it removes from the properties.
	Copies func(p *core.Properties) (keys, hidden [][]byte, err error)
	// AppendProperties appends the properties of a message of Format.
	AppendProperties func(dst []byte, p *core.Properties) []byte
	Format           core.Format
}

// Listener is an address that clients connect to.
type Listener struct {
	Protocol string // RabbitMQ's name of it, as "amqp" or "mqtt"
	Host     string
	Port     int
	TLS      bool
}

// Deps are what the API looks after; all are required.
type Deps struct {
	Broker  *core.Broker
	Catalog *metadata.Catalog
	Clients *gateway.Clients
	Dialect Dialect
	// Listeners returns the open addresses.
	Listeners func() []Listener
	// CertificateEnds returns when the first certificate of the listeners ends; the
	// zero time when there is none.
	CertificateEnds func() time.Time
	Log             *slog.Logger
	// Node, Cluster, Product and Version are the names that answers carry.
	Node, Cluster, Product, Version string
}

// CompatibleVersion is the version of RabbitMQ whose API is spoken. Programs
// decide by it what they may ask for.
const CompatibleVersion = "4.0.0"

// API answers the requests. It is safe for concurrent use.
type API struct {
	Deps
	started time.Time
	rates   *rates
}

// New returns the API.
func New(deps Deps) *API { return &API{Deps: deps, started: time.Now(), rates: newRates(time.Now)} }

// request is one request with what every handler asks it for.
type request struct {
	*http.Request
	user *gateway.Principal
}

// handler answers one request.
type handler func(ctx context.Context, r *request) (answer, error)

// route is a line of the table.
type route struct {
	pattern string
	access  gateway.Access
	handler handler
	maxBody int64
}

// Routes returns the table of routes for the front door.
func (a *API) Routes() []gateway.Route {
	var out []gateway.Route
	known := http.NewServeMux()
	paths := map[string]bool{}
	for _, rt := range a.table() {
		h := a.serve(rt.handler)
		if _, path, _ := strings.Cut(rt.pattern, " "); !paths[path] {
			paths[path] = true
			known.Handle(path, h)
		}
		out = append(out, gateway.Route{Pattern: rt.pattern, Access: rt.access, Handler: h, MaxBody: rt.maxBody})
	}
	missing := a.serve(a.otherMethod(known))
	return append(out, gateway.Route{Pattern: "/api/", Access: gateway.Member, Handler: missing})
}

// serve turns a handler into one of net/http.
func (a *API) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{Request: r, user: gateway.Requester(r)}
		got, err := h(r.Context(), req)
		if err == nil {
			got, err = shape(req, got)
		}
		if err != nil {
			got = a.refusal(r.Context(), err)
		}
		got.write(w)
	})
}
