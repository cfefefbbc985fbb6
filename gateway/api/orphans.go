package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/core"
)

// describeOrphan is an orphan in a list; its number goes by 16 hex digits.
func describeOrphan(o *core.Orphan) object {
	out := object{
		"orphan": fmt.Sprintf("%016x", o.Stream), "vhost": o.Namespace, "name": o.Queue, "shard": o.Shard,
		"messages": o.Messages, "arguments": orEmpty(o.Args), "type": queueType(o.Args), "oldest": nil,
	}
	if !o.Oldest.IsZero() {
		out["oldest"] = o.Oldest.UTC().Format(time.RFC3339)
	}
	return out
}

func (a *API) listOrphans(context.Context, *request) (answer, error) {
	all, err := a.Broker.Orphans()
	if err != nil {
		return answer{}, err
	}
	var out []object
	for i := range all {
		out = append(out, describeOrphan(&all[i]))
	}
	return found(orNone(out))
}

// orphanOf is the number in the path.
func orphanOf(r *request) (uint64, error) {
	digits := r.PathValue("orphan")
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || len(digits) != 16 {
		return 0, errMissing
	}
	return n, nil
}

func (a *API) adoptOrphan(ctx context.Context, r *request) (answer, error) {
	number, err := orphanOf(r)
	if err != nil {
		return answer{}, err
	}
	var body struct {
		Vhost      string          `json:"vhost"`
		Name       string          `json:"name"`
		AutoDelete truth           `json:"auto_delete"`
		Arguments  json.RawMessage `json:"arguments"`
	}
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	args, err := decodeArguments(body.Arguments)
	if err != nil {
		return answer{}, err
	}
	if len(body.Name) > maxName {
		return answer{}, badRequest("name of a queue must have 1 to %d bytes", maxName)
	}
	q, err := a.Broker.AdoptOrphan(ctx, number, core.OrphanSpec{
		Namespace: body.Vhost, Queue: body.Name, Args: args, AutoDelete: bool(body.AutoDelete), Check: a.Dialect.CheckQueue,
	})
	if e, ok := errors.AsType[*core.Error](err); ok {
		if errors.Is(err, core.ErrNotFound) && e.Kind == "orphan" {
			return answer{}, errMissing
		}
		return answer{}, badRequest("%v", err)
	}
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: object{"name": q.Name, "arguments": orEmpty(q.Args)}}, nil
}

func (a *API) discardOrphan(ctx context.Context, r *request) (answer, error) {
	number, err := orphanOf(r)
	if err != nil {
		return answer{}, err
	}
	n, err := a.Broker.DiscardOrphan(ctx, number)
	if err != nil {
		return answer{}, missing(err)
	}
	return found(object{"messages": n})
}
