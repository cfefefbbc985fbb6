package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

const (
	// maxGet and maxGetBytes bound what one request takes from a queue.
	maxGet      = 10_000
	maxGetBytes = 16 << 20
	// maxHeaderDepth is how deep headers may nest.
	maxHeaderDepth = 32
)

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
		return nil, badRequest("routing_key and payload are needed")
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
	if err := a.permitTopic(r, gateway.Write, vhost, exchange, *body.RoutingKey); err != nil {
		return answer{}, err
	}
	properties, err := readProperties(body.Properties)
	if err != nil {
		return answer{}, err
	}
	if user := properties.UserID; user != "" && user != r.user.User && !r.user.HasTag(gateway.TagImpersonator) {
		return answer{}, badRequest("user_id property set to '%s' but authenticated user was '%s'", user, r.user.User)
	}
	m := core.Message{
		Format: a.Dialect.Format, Exchange: []byte(exchange), Key: []byte(*body.RoutingKey), Payload: payload,
		Properties: a.Dialect.AppendProperties(nil, &properties),
	}
	if properties.Persistent {
		m.QoS = 1
	}
	if properties.HasExpiry {
		m.ExpireAt = time.Now().Add(properties.Expiry).UnixMilli()
	}
	routed, err := a.send(ctx, vhost, &m)
	if err != nil {
		return answer{}, err
	}
	return found(object{"routed": routed})
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
	"CC", "BCC", "x-delay", "x-opt-delivery-time", "x-schedule", "x-schedule-id", "x-txn",
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
	case name == "cluster_id": // reserved, carried by nobody
	default:
		return badRequest("property %s is unknown or has a wrong value", name)
	}
	return nil
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

// getBody asks for messages.
type getBody struct {
	Count    *int   `json:"count"`
	AckMode  string `json:"ackmode"`
	Requeue  *bool  `json:"requeue"` // the older form of AckMode
	Encoding string `json:"encoding"`
	Truncate *int   `json:"truncate"`
}

func (b *getBody) check() (requeue bool, err error) {
	switch {
	case b.Count == nil || *b.Count < 1 || *b.Count > maxGet:
		return false, badRequest("count must be 1 to %d", maxGet)
	case b.Encoding != "auto" && b.Encoding != "base64":
		return false, badRequest("encoding must be auto or base64")
	case b.Truncate != nil && *b.Truncate < 0:
		return false, badRequest("truncate must not be negative")
	}
	switch b.AckMode {
	case "ack_requeue_true", "reject_requeue_true":
		return true, nil
	case "ack_requeue_false", "reject_requeue_false":
		return false, nil
	case "":
		if b.Requeue != nil {
			return *b.Requeue, nil
		}
	}
	return false, badRequest("ackmode is missing or unknown")
}

// getMessages takes messages from a queue, and puts them back if that is asked for.
func (a *API) getMessages(ctx context.Context, r *request) (answer, error) {
	vhost, name, err := a.existingQueue(r, gateway.Read)
	if err != nil {
		return answer{}, err
	}
	var body getBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	requeue, err := body.check()
	if err != nil {
		return answer{}, err
	}
	out := []object{}
	var taken []core.Position
	var getter *core.Getter
	defer func() {
		if len(taken) == 0 {
			return
		}
		if requeue || err != nil {
			getter.Settle(core.Requeue, taken...)
			return
		}
		getter.Settle(core.Ack, taken...)
	}()
	for size := 0; len(out) < *body.Count && size < maxGetBytes; {
		d, g, left, ok, getErr := a.Broker.Get(ctx, vhost, name, owner, false)
		if err = getErr; err != nil || !ok {
			break
		}
		taken, getter = append(taken, d.Position), g
		var o object
		if o, err = a.describeMessage(&d, &body); err != nil {
			break
		}
		o["message_count"] = left
		out = append(out, o)
		size += len(d.Message.Payload)
	}
	if err != nil {
		return answer{}, err
	}
	return found(out)
}

func (a *API) describeMessage(d *core.Delivery, how *getBody) (object, error) {
	m := &d.Message
	p, err := a.Broker.Decode(m)
	if err != nil {
		return nil, err
	}
	p.Persistent = p.Persistent || m.QoS > 0
	payload := m.Payload
	if how.Truncate != nil && len(payload) > *how.Truncate {
		payload = payload[:*how.Truncate]
	}
	text, encoding := string(payload), "string"
	if how.Encoding == "base64" || !utf8.Valid(payload) {
		text, encoding = base64.StdEncoding.EncodeToString(payload), "base64"
	}
	key := string(m.Key)
	if m.Format == core.FormatMQTT {
		key = strings.NewReplacer("/", ".", ".", "/").Replace(key)
	}
	return object{
		"payload": text, "payload_encoding": encoding, "payload_bytes": len(m.Payload),
		"exchange": string(m.Exchange), "routing_key": key, "redelivered": d.Redelivered,
		"properties": propertiesObject(&p),
	}, nil
}

func propertiesObject(p *core.Properties) object {
	o := object{"delivery_mode": 1}
	if p.Persistent {
		o["delivery_mode"] = 2
	}
	for name, text := range map[string]string{
		"content_type": p.ContentType, "content_encoding": p.ContentEncoding, "reply_to": p.ReplyTo,
		"message_id": p.MessageID, "type": p.Type, "app_id": p.AppID, "user_id": p.UserID,
		"correlation_id": string(p.CorrelationID),
	} {
		if text != "" {
			o[name] = text
		}
	}
	if p.HasPriority {
		o["priority"] = p.Priority
	}
	if p.HasTimestamp {
		o["timestamp"] = p.Timestamp
	}
	if p.HasExpiry {
		o["expiration"] = strconv.FormatInt(p.Expiry.Milliseconds(), 10)
	}
	if len(p.Headers) > 0 {
		o["headers"] = headersObject(p.Headers)
	}
	return o
}

func headersObject(headers []core.Header) object {
	o := object{}
	for _, h := range headers {
		if _, repeated := o[h.Name]; !repeated {
			o[h.Name] = headerValue(h.Value)
		}
	}
	return o
}

// headerValue turns a header's value into one of JSON; what has no form there
// is shown as text.
func headerValue(v any) any {
	switch v := v.(type) {
	case []core.Header:
		return headersObject(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = headerValue(v[i])
		}
		return out
	case time.Time:
		return v.Unix()
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case nil, bool, string, int64, uint64, float64:
		return v
	}
	return fmt.Sprint(v)
}

// alivenessQueue is the queue of the aliveness test.
const alivenessQueue = "aliveness-test"

// aliveness declares a queue and sends a message through it.
func (a *API) aliveness(ctx context.Context, r *request) (answer, error) {
	vhost, err := a.ownVhost(r)
	if err != nil {
		return answer{}, err
	}
	spec := core.QueueSpec{Name: alivenessQueue}
	for _, op := range []gateway.Operation{gateway.Configure, gateway.Read} {
		if err := r.permit(op, vhost, "queue", spec.Name); err != nil {
			return answer{}, err
		}
	}
	if err := r.permit(gateway.Write, vhost, "exchange", ""); err != nil {
		return answer{}, err
	}
	if _, err := a.Broker.DeclareQueue(ctx, vhost, spec); err != nil {
		return answer{}, err
	}
	p := core.Properties{}
	m := core.Message{
		Format: a.Dialect.Format, Exchange: []byte(""), Key: []byte(spec.Name), Payload: []byte("test_message"),
		Properties: a.Dialect.AppendProperties(nil, &p),
	}
	if _, err := a.send(ctx, vhost, &m); err != nil {
		return answer{}, err
	}
	_, _, _, ok, err := a.Broker.Get(ctx, vhost, spec.Name, owner, true)
	if err != nil {
		return answer{}, err
	}
	if !ok {
		return unhealthy(object{"reason": "the test message did not come back"})
	}
	return healthOK()
}
