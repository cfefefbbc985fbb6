package route

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// HeaderFunc returns a header of the message that is published, and whether it has
// one of that name.
type HeaderFunc func(name string) (value any, ok bool)

// headerRule is what a binding of a headers exchange asks of a message.
type headerRule struct {
	any  bool // one argument is enough
	want []headerArg
}

// headerArg is a header that must be there, with this value unless that is nil.
type headerArg struct {
	name  string
	value any
}

// newHeaderRule reads the arguments of a binding. x-match is one of all (when absent),
// any, all-with-x, any-with-x; the first two ignore arguments that begin with "x-".
func newHeaderRule(args map[string]any) (*headerRule, error) {
	mode := "all"
	if v, ok := args["x-match"]; ok {
		if mode, ok = v.(string); !ok {
			return nil, RefusedError(fmt.Sprintf("Invalid x-match field type %s (value %v); expected longstr", erlangType(v), v))
		}
	}
	r := &headerRule{}
	withX := false
	switch mode {
	case "all":
	case "any":
		r.any = true
	case "all-with-x":
		withX = true
	case "any-with-x":
		r.any, withX = true, true
	default:
		return nil, RefusedError(fmt.Sprintf(
			"Invalid x-match field value <<%q>>; expected all, any, all-with-x, or any-with-x", mode))
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if name != "x-match" && (withX || !strings.HasPrefix(name, "x-")) {
			r.want = append(r.want, headerArg{name, args[name]})
		}
	}
	return r, nil
}

// erlangType is the name that refusals of RabbitMQ have for the type of a value.
func erlangType(v any) string {
	switch v.(type) {
	case bool:
		return "bool"
	case float64:
		return "double"
	case nil:
		return "void"
	case []any:
		return "array"
	case map[string]any:
		return "table"
	case []byte:
		return "binary"
	}
	return "signedint"
}

func (r *headerRule) match(headers HeaderFunc) bool {
	for _, arg := range r.want {
		if arg.match(headers) == r.any {
			return r.any
		}
	}
	return !r.any
}

func (a headerArg) match(headers HeaderFunc) bool {
	if headers == nil {
		return false
	}
	have, ok := headers(a.name)
	return ok && (a.value == nil || equalValue(a.value, have))
}

// equalArgs compares the arguments of two bindings.
func equalArgs(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, equalValue)
}

// equalValue compares two field values; integers are equal whatever their width.
func equalValue(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValue)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && equalArgs(a, b)
	}
	if m, ok := asInteger(a); ok {
		n, ok := asInteger(b)
		return ok && m == n
	}
	return reflect.DeepEqual(a, b)
}

// integer is a whole number of any width and sign.
type integer struct {
	negative bool
	bits     uint64
}

func asInteger(v any) (integer, bool) {
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return integer{r.Int() < 0, uint64(r.Int())}, true
	case r.CanUint():
		return integer{false, r.Uint()}, true
	default:
		return integer{}, false
	}
}
