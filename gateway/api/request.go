package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"

	"github.com/tidegate/tidegate/gateway"
)

// PathValue returns the part of the path that matched a wildcard.
func (r *request) PathValue(name string) string { return gateway.PathValue(r.Request, name) }

// decode reads the body, a JSON object, into the struct that to points to. No
// body is an empty object. Numbers without a type of their own are json.Number.
func (r *request) decode(to any) error { return decodeFrom(r.Body, to) }

func decodeFrom(from io.Reader, to any) error {
	d := json.NewDecoder(from)
	d.UseNumber()
	err := d.Decode(to)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return badRequest("body is not as expected: %v", err)
}

// fileField is the field of a form that has the file in it.
const fileField = "file"

// decodeFile is decode for a body that may also be a form with a file, as web pages
// and curl -F send one.
func (r *request) decodeFile(to any) error {
	form, err := r.MultipartReader()
	if errors.Is(err, http.ErrNotMultipart) {
		return r.decode(to)
	}
	for err == nil {
		var part *multipart.Part
		if part, err = form.NextPart(); err == nil && part.FormName() == fileField {
			return decodeFrom(part, to)
		}
	}
	if errors.Is(err, io.EOF) {
		return badRequest("form has no field '%s'", fileField)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return badRequest("form can't be read: %v", err)
}

// plain turns JSON values into those of the engine: whole numbers are int64,
// others float64.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, badRequest("number %s is out of range", v)
		}
		return f, nil
	case []any:
		for i := range v {
			var err error
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name, value := range v {
			p, err := plain(value)
			if err != nil {
				return nil, err
			}
			v[name] = p
		}
	}
	return v, nil
}

// plainArgs is plain for arguments; none are nil.
func plainArgs(args map[string]any) (map[string]any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if _, err := plain(args); err != nil {
		return nil, err
	}
	return args, nil
}

// decodeArguments reads arguments that are an object, an empty list (which some
// programs write for none), or not there.
func decodeArguments(text json.RawMessage) (map[string]any, error) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) == 0 || string(trimmed) == "[]" || string(trimmed) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var args map[string]any
	if err := d.Decode(&args); err != nil {
		return nil, badRequest("arguments are no object: %v", err)
	}
	return plainArgs(args)
}

// orEmpty shows arguments as an object, also when there are none.
func orEmpty(args map[string]any) map[string]any {
	if args == nil {
		return map[string]any{}
	}
	return args
}

// orNone shows a list, also when there is none.
func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// seesAll tells whether the user sees virtual hosts that it may not enter.
func (r *request) seesAll() bool {
	return r.user.HasTag(gateway.TagMonitoring, gateway.TagAdministrator)
}

// sees tells whether the user sees what is in a virtual host.
func (r *request) sees(vhost string) bool { return r.seesAll() || r.user.CanAccess(vhost) }

// vhost returns the virtual host of the path, to look at.
func (a *API) vhost(r *request) (string, error) {
	name := r.PathValue("vhost")
	if _, ok := a.Catalog.Namespace(name); !ok {
		return "", errMissing
	}
	if !r.sees(name) {
		return "", notAuthorised("User not authorised to access virtual host")
	}
	return name, nil
}

// ownVhost returns the virtual host of the path, to do something in.
func (a *API) ownVhost(r *request) (string, error) {
	name, err := a.vhost(r)
	if err == nil && !r.user.CanAccess(name) {
		err = notAuthorised("User not authorised to access virtual host")
	}
	return name, err
}

// vhosts returns those of a listing: the one of the path, or all that are seen.
func (a *API) vhosts(r *request) ([]string, error) {
	if r.PathValue("vhost") != "" {
		name, err := a.vhost(r)
		return []string{name}, err
	}
	var names []string
	for _, ns := range a.Catalog.Namespaces() {
		if r.sees(ns.Name) {
			names = append(names, ns.Name)
		}
	}
	return names, nil
}

// defaultExchange is the name of the exchange "" in permissions and paths.
const defaultExchange = "amq.default"

// exchangeName returns the exchange that a part of the path means.
func exchangeName(part string) string {
	if part == defaultExchange {
		return ""
	}
	return part
}

// permit checks a permission in the words of AMQP.
func (r *request) permit(op gateway.Operation, vhost, kind, name string) error {
	if kind == "exchange" && name == "" {
		name = defaultExchange
	}
	if r.user.Can(op, vhost, name) {
		return nil
	}
	return notAuthorised("%s access to %s '%s' in vhost '%s' refused for user '%s'", op, kind, name, vhost, r.user.User)
}

// permitTopic checks the permission on a routing key of a topic exchange.
func (a *API) permitTopic(r *request, op gateway.Operation, vhost, exchange, key string) error {
	rule := r.user.TopicRule(vhost, exchange, "")
	if rule == nil || op == gateway.Write && rule.MayWrite([]byte(key)) || op == gateway.Read && rule.MayRead([]byte(key)) {
		return nil
	}
	if x, err := a.Broker.CheckExchange(vhost, exchange); err != nil || x.Routes() != "topic" {
		return nil //nolint:nilerr // what is done with it tells that it is missing
	}
	return notAuthorised("%s access to topic '%s' in exchange '%s' in vhost '%s' refused for user '%s'",
		op, key, exchange, vhost, r.user.User)
}

// owner of calls to the engine: no connection's.
const owner = ""
