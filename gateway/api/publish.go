package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// maxHeaderDepth is how deep headers may nest.
const maxHeaderDepth = 32

// publishBody is a message.
type publishBody struct {
	Properties      json.RawMessage `json:"properties"`
	RoutingKey      *string         `json:"routing_key"`
	Payload         *string         `json:"payload"`
	PayloadEncoding string          `json:"payload_encoding"`
}

func (b *publishBody) payload() ([]byte, error) {
	switch {
	case b.Payload == nil || b.RoutingKey == nil:
		return nil, keyMissing(map[bool]string{true: "routing_key", false: "payload"}[b.RoutingKey == nil])
	case b.PayloadEncoding == "string":
		return []byte(*b.Payload), nil
	case b.PayloadEncoding == "base64":
		raw, err := base64.StdEncoding.DecodeString(*b.Payload)
		if err != nil {
			return nil, badRequest("payload is no base64: %v", err)
		}
		return raw, nil
	}
	return nil, badRequest("payload_encoding must be string or base64")
}

// publish publishes one message, and answers when it is as safe as its queues ask for.
func (a *API) publish(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	var body publishBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	payload, err := body.payload()
	if err != nil {
		return answer{}, err
	}
	exchange := exchangeName(r.PathValue("name"))
	if err := r.permit(gateway.Write, vhost, "exchange", exchange); err != nil {
		return answer{}, err
	}
	properties, err := readProperties(body.Properties)
	if err != nil {
		return answer{}, err
	}
	more, hidden, err := a.Dialect.Copies(&properties)
	if err != nil {
		return answer{}, err
	}
	for _, key := range append([][]byte{[]byte(*body.RoutingKey)}, more...) {
		if err := a.permitTopic(r, gateway.Write, vhost, exchange, string(key)); err != nil {
			return answer{}, err
		}
	}
	if user := properties.UserID; user != "" && user != r.user.User && !r.user.HasTag(gateway.TagImpersonator) {
		return answer{}, badRequest("user_id property set to '%s' but authenticated user was '%s'", user, r.user.User)
	}
	m := core.Message{
		Format: a.Dialect.Format, Exchange: []byte(exchange), Key: []byte(*body.RoutingKey), MoreKeys: more, HiddenKeys: hidden,
		Payload: payload, Properties: a.Dialect.AppendProperties(nil, &properties),
	}
	if properties.Persistent {
		m.QoS = 1
	}
	if properties.HasExpiry {
		m.ExpireAt = time.Now().Add(properties.Expiry).UnixMilli()
	}
	routed, err := a.send(ctx, vhost, &m)
	if err != nil {
		return answer{}, a.publishRefused(err)
	}
	return found(object{"routed": routed})
}

// publishRefused says why a publish was refused as RabbitMQ does, which publishes over a
// connection of AMQP: with the words of that, and their code.
func (a *API) publishRefused(err error) error {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Arg == "internal" {
		return badRequest("%d ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '%s'",
			codeAccessRefused, e.Name, e.Namespace)
	}
	if errors.Is(err, core.ErrNotFound) {
		_, text := a.Dialect.Refusal(err)
		return badRequest("%d NOT_FOUND - %s", codeNotFound, text)
	}
	return err
}

// send publishes and waits for the confirm.
func (a *API) send(ctx context.Context, vhost string, m *core.Message) (routed bool, err error) {
	settled := make(chan struct{}, 1)
	p, err := a.Broker.NewPublisher(vhost, nil, func() {
		select {
		case settled <- struct{}{}:
		default: // one is there already
		}
	})
	if err != nil {
		return false, err
	}
	defer p.Close()
	got, err := p.Publish(m)
	if err != nil {
		return false, err
	}
	for {
		if n, err := p.Settled(); err != nil || n >= got.Seq {
			return got.Routed, err
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return false, fmt.Errorf("wait for the confirm: %w", ctx.Err())
		}
	}
}

// refusedHeaders ask for what this version does not do.
var refusedHeaders = []string{
	"x-delay", "x-opt-delivery-time", "x-schedule", "x-schedule-id", "x-txn",
}

// readProperties reads the properties of a message to publish.
func readProperties(text json.RawMessage) (core.Properties, error) {
	var p core.Properties
	fields, err := decodeArguments(text)
	if err != nil {
		return p, err
	}
	texts := map[string]*string{
		"content_type": &p.ContentType, "content_encoding": &p.ContentEncoding, "reply_to": &p.ReplyTo,
		"message_id": &p.MessageID, "type": &p.Type, "app_id": &p.AppID, "user_id": &p.UserID,
	}
	for name, value := range fields {
		if to := texts[name]; to != nil {
			s, ok := value.(string)
			if !ok || len(s) > maxName {
				return p, badRequest("property %s must be a text of at most %d bytes", name, maxName)
			}
			*to = s
			continue
		}
		if err := readProperty(&p, name, value); err != nil {
			return p, err
		}
	}
	return p, nil
}

func readProperty(p *core.Properties, name string, value any) error {
	n, isNumber := value.(int64)
	s, isText := value.(string)
	switch {
	case name == "correlation_id" && isText && len(s) <= maxName:
		p.CorrelationID = []byte(s)
	case name == "delivery_mode" && isNumber && (n == 1 || n == 2):
		p.Persistent = n == 2
	case name == "priority" && isNumber && n >= 0 && n <= 255:
		p.HasPriority, p.Priority = true, uint8(n)
	case name == "timestamp" && isNumber && n >= 0:
		p.HasTimestamp, p.Timestamp = true, n
	case name == "expiration" && isText:
		ms, err := strconv.ParseUint(s, 10, 40)
		if err != nil {
			return badRequest("expiration '%s' is no number of milliseconds", s)
		}
		p.HasExpiry, p.Expiry = true, time.Duration(ms)*time.Millisecond
	case name == "headers":
		headers, ok := value.(map[string]any)
		if !ok && value != nil {
			return badRequest("headers must be an object")
		}
		var err error
		p.Headers, err = readHeaders(headers, 0)
		return err
	case slices.Contains(typedProperties, name):
		return badRequest("property %s has a wrong value", name)
	} // others mean nothing, and no program is refused for them
	return nil
}

// typedProperties are properties whose values are read by readProperty.
var typedProperties = []string{
	"correlation_id", "delivery_mode", "priority", "timestamp", "expiration", "headers",
}

func readHeaders(from map[string]any, depth int) ([]core.Header, error) {
	if depth > maxHeaderDepth {
		return nil, badRequest("headers nest deeper than %d", maxHeaderDepth)
	}
	var headers []core.Header
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if depth == 0 && slices.Contains(refusedHeaders, name) {
			return nil, badRequest("header '%s' is not supported in this version", name)
		}
		value, err := readHeader(from[name], depth)
		if err != nil {
			return nil, err
		}
		headers = append(headers, core.Header{Name: name, Value: value})
	}
	return headers, nil
}

func readHeader(v any, depth int) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		return readHeaders(v, depth+1)
	case []any:
		if depth > maxHeaderDepth {
			return nil, badRequest("headers nest deeper than %d", maxHeaderDepth)
		}
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = readHeader(v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
