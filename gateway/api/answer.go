package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// object is a JSON object.
type object = map[string]any

// answer is what a request gets.
type answer struct {
	status   int
	body     any    // nil for none
	location string // of what was created, may be empty
}

func found(body any) (answer, error) { return answer{status: http.StatusOK, body: body}, nil }

func done() (answer, error) { return answer{status: http.StatusNoContent}, nil }

// put answers a PUT: 201 for something new, 204 for what was there.
func put(created bool) (answer, error) {
	if created {
		return answer{status: http.StatusCreated}, nil
	}
	return done()
}

func emptyList(context.Context, *request) (answer, error) { return found([]object{}) }

func (a answer) write(w http.ResponseWriter) {
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // it is no page: names and terms are to be read as they are
	if err := e.Encode(a.body); err != nil {
		http.Error(w, "answer can't be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(bytes.TrimSpace(text.Bytes())) // a client that is gone needs no answer
}

// refused is an error with what the client is told.
type refused struct {
	status      int
	name, cause string
}

func (e *refused) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.name, e.cause) }

var errMissing = &refused{http.StatusNotFound, "Object Not Found", "Not Found"}

func badRequest(format string, args ...any) error {
	return &refused{http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...)}
}

func notAuthorised(format string, args ...any) error {
	return &refused{http.StatusUnauthorized, "not_authorised", fmt.Sprintf(format, args...)}
}

// The reply codes of AMQP that have a status of their own here.
const (
	codeAccessRefused = 403
	codeNotFound      = 404
)

// refusal is the one place where errors become answers.
func (a *API) refusal(ctx context.Context, err error) answer {
	say := func(e *refused) answer {
		return answer{status: e.status, body: object{"error": e.name, "reason": e.cause}}
	}
	if e, ok := errors.AsType[*refused](err); ok {
		return say(e)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return say(&refused{
			http.StatusRequestEntityTooLarge, "bad_request",
			fmt.Sprintf("payload size limit of %d bytes exceeded", e.Limit),
		})
	}
	for _, e := range []struct {
		is error
		as refused
	}{
		{core.ErrUnavailable, refused{http.StatusServiceUnavailable, "unavailable", "metadata is not available now"}},
		{metadata.ErrUnavailable, refused{http.StatusServiceUnavailable, "unavailable", "metadata is not available now"}},
		{core.ErrPressure, refused{http.StatusServiceUnavailable, "unavailable", "disk or memory is low"}},
		{core.ErrClosed, refused{http.StatusServiceUnavailable, "unavailable", "shutting down"}},
		{metadata.ErrNotFound, *errMissing},
		{metadata.ErrInvalid, refused{http.StatusBadRequest, "bad_request", err.Error()}},
		{gateway.ErrHash, refused{http.StatusBadRequest, "bad_request", err.Error()}},
	} {
		if errors.Is(err, e.is) {
			return say(&e.as)
		}
	}
	code, text := a.Dialect.Refusal(err)
	switch {
	case code == codeNotFound:
		return say(&refused{http.StatusNotFound, "not_found", text})
	case code == codeAccessRefused:
		return say(&refused{http.StatusUnauthorized, "not_authorised", text})
	case text != "" && !errors.Is(err, core.ErrStorage):
		return say(&refused{http.StatusBadRequest, "bad_request", text})
	}
	a.Log.LogAttrs(ctx, slog.LevelError, "request failed", slog.Any("error", err))
	return say(&refused{http.StatusInternalServerError, "internal_error", "see the broker's log"})
}
