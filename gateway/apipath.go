package gateway

import (
	"net/http"
	"net/url"
	"strings"
)

// http.ServeMux takes a segment of a path that is an escaped slash for the end
// of the path, so that no wildcard matches it. The most usual virtual host has
// that very name: such a segment gets a mark on its way into the mux, which
// PathValue takes off again.
const (
	slashSegment = "%2f"
	markedSlash  = "%2F%00"
	markedValue  = "/\x00"
)

// PathValue returns the part of the request's path that matched a wildcard.
func PathValue(r *http.Request, name string) string {
	value := r.PathValue(name)
	if value == markedValue {
		return "/"
	}
	return value
}

// apiPaths prepares the paths of the API for the mux: slashes at the end mean
// nothing, escaped ones in between are names.
func apiPaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isAPI(r) {
			before := r.URL.EscapedPath()
			segments := strings.Split(strings.TrimRight(before, "/"), "/")
			for i, s := range segments {
				if strings.EqualFold(s, slashSegment) {
					segments[i] = markedSlash
				}
			}
			if after := strings.Join(segments, "/"); after != before {
				r = withPath(r, after)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// withPath returns the request with another path.
func withPath(r *http.Request, escaped string) *http.Request {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return r // the mux refuses it
	}
	u := *r.URL
	u.Path, u.RawPath = path, escaped
	r2 := *r
	r2.URL = &u
	return &r2
}
