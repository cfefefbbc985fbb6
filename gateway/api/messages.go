package api

import (
	"context"
	"encoding/base64"
	"fmt"
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
)

// getBody asks for messages.
type getBody struct {
	Count    *integer `json:"count"`
	AckMode  string   `json:"ackmode"`
	Requeue  *truth   `json:"requeue"` // the older form of AckMode
	Encoding string   `json:"encoding"`
	Truncate *integer `json:"truncate"`
}

func (b *getBody) check() (requeue bool, err error) {
	switch {
	case b.Count == nil:
		return false, keyMissing("count")
	case *b.Count < 0 || *b.Count > maxGet:
		return false, badRequest("count must be 0 to %d", maxGet)
	case b.Encoding == "":
		return false, keyMissing("encoding")
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
			return bool(*b.Requeue), nil
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
	for size := 0; len(out) < int(*body.Count) && size < maxGetBytes; {
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
	if how.Truncate != nil && len(payload) > int(*how.Truncate) {
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
