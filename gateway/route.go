package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Access is who may use a route.
type Access uint8

// The kinds of access, each by a tag of users; an administrator has all.
const (
	// Public needs no login.
	Public Access = iota + 1
	// Metrics is Monitoring, but a program on this machine needs no login if the
	// configuration says so.
	Metrics
	// Member needs a login.
	Member
	// Management needs a tag that lets the user use the API at all: management,
	// policymaker, monitoring or administrator.
	Management
	// Policymaker needs the tag policymaker.
	Policymaker
	// Monitoring needs the tag monitoring.
	Monitoring
	// Administrator needs the tag administrator.
	Administrator
)

// The tags of users that mean something.
const (
	TagAdministrator = "administrator"
	TagMonitoring    = "monitoring"
	TagPolicymaker   = "policymaker"
	TagManagement    = "management"
	// TagImpersonator lets a user publish in the name of another one.
	TagImpersonator = "impersonator"
)

func (a Access) String() string {
	return [...]string{
		Public: "public", Metrics: "monitor", Member: "known", Management: "management",
		Policymaker: "policymaker", Monitoring: "monitor", Administrator: "administrator",
	}[a]
}

func (a Access) granted(p *Principal) bool {
	switch a {
	case Member:
		return true
	case Management:
		return p.HasTag(TagManagement, TagPolicymaker, TagMonitoring, TagAdministrator)
	case Policymaker:
		return p.HasTag(TagPolicymaker, TagAdministrator)
	case Metrics, Monitoring:
		return p.HasTag(TagMonitoring, TagAdministrator)
	case Administrator:
		return p.HasTag(TagAdministrator)
	default:
		return false
	}
}

// Route is one line of the table that all of the HTTP side is made of: there
// is no other way to a handler.
type Route struct {
	// Pattern is that of an http.ServeMux.
	Pattern string
	Access  Access
	Handler http.Handler
	// MaxBody bounds the body of a request in bytes; 0 is 1 MiB.
	MaxBody int64
}

// requesterKey is the key of a request's principal in its context.
type requesterKey struct{}

// Requester returns who sent a request; nil on a route that is public.
func Requester(r *http.Request) *Principal {
	p, _ := r.Context().Value(requesterKey{}).(*Principal)
	return p
}

// isAPI tells whether a program asks that wants its answers in JSON.
func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

// deny refuses a request in the form of its part of the HTTP side.
func deny(w http.ResponseWriter, r *http.Request, status int, name, reason string) {
	if !isAPI(r) {
		http.Error(w, reason, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_ = json.NewEncoder(w).Encode(struct { //nolint:errchkjson // two strings
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}{name, reason})
}
