package amqp

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// sentinels reads the names of the engine's errors from its source.
func sentinels(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../core/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Err") {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	return names
}

func TestEverySentinelHasAReplyCode(t *testing.T) {
	want := map[string]struct {
		err  error
		code uint16
		hard bool
	}{
		"ErrNotFound":     {core.ErrNotFound, 404, false},
		"ErrInequivalent": {core.ErrInequivalent, 406, false},
		"ErrLocked":       {core.ErrLocked, 405, false},
		"ErrInUse":        {core.ErrInUse, 406, false},
		"ErrNotEmpty":     {core.ErrNotEmpty, 406, false},
		"ErrReserved":     {core.ErrReserved, 403, false},
		"ErrInvalid":      {core.ErrInvalid, 406, false},
		"ErrUnsupported":  {core.ErrUnsupported, 540, true},
		"ErrUnavailable":  {core.ErrUnavailable, 406, false},
		"ErrStorage":      {core.ErrStorage, 541, true},
		"ErrClosed":       {core.ErrClosed, 320, true},
		"ErrFenced":       {core.ErrFenced, 541, true},
		"ErrNotOwner":     {core.ErrNotOwner, 403, false},
		"ErrTooLarge":     {core.ErrTooLarge, 406, false},
		"ErrLimit":        {core.ErrLimit, 406, false},
		"ErrFull":         {core.ErrFull, 406, false},
		"ErrPressure":     {core.ErrPressure, 506, true},
	}
	for _, name := range sentinels(t) {
		w, ok := want[name]
		if !ok {
			t.Errorf("core.%s has no reply code", name)
			continue
		}
		for _, err := range []error{
			w.err,
			fmt.Errorf("do: %w", w.err),
			fmt.Errorf("do: %w", &core.Error{Reason: w.err, Kind: "queue", Name: "q", Namespace: "/"}),
		} {
			r := replyTo(err)
			if r.code != w.code || r.hard() != w.hard || !errors.Is(r, w.err) {
				t.Errorf("%v: got %v, hard %v", err, r, r.hard())
			}
			if text := r.replyText(); text == "" || strings.HasSuffix(text, "- ") {
				t.Errorf("%v: no text: %q", err, text)
			}
		}
	}
	if r := replyTo(errors.New("other")); r.code != 541 || r.replyText() != "INTERNAL_ERROR" {
		t.Errorf("other: got %v", r)
	}
}

func TestReplyTexts(t *testing.T) {
	for _, c := range []struct {
		err  core.Error
		want string
	}{
		{core.Error{Reason: core.ErrNotFound}, "NOT_FOUND - no queue 'q' in vhost '/'"},
		{core.Error{Reason: core.ErrInUse}, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use"},
		{
			core.Error{Reason: core.ErrInequivalent, Arg: "x-max-length", Got: "11", Current: "10"},
			"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '11' but current is '10'",
		},
		{
			core.Error{Reason: core.ErrInequivalent, Arg: "x-max-length", Current: "10"},
			"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/':" +
				" received none but current is the value '10' of type 'signedint'",
		},
		{
			core.Error{Reason: core.ErrInequivalent, Arg: "x-overflow", Got: "drop-head"},
			"PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/':" +
				" received the value 'drop-head' of type 'longstr' but current is none",
		},
		{core.Error{Reason: core.ErrReserved}, "ACCESS_REFUSED - queue name 'q' contains reserved prefix 'amq.*'"},
		{
			core.Error{Reason: core.ErrInvalid, Arg: "x-match", Detail: "no such match"},
			"PRECONDITION_FAILED - invalid arg 'x-match' for queue 'q' in vhost '/': no such match",
		},
	} {
		c.err.Kind, c.err.Name, c.err.Namespace = "queue", "q", "/"
		if got := replyTo(&c.err).replyText(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
