package amqp

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// Headers that say when a message is to be delivered, and what a delivered one is
// told of that.
const (
	headerDelay         = "x-delay"             // milliseconds from now on
	headerDeliveryTime  = "x-opt-delivery-time" // unix milliseconds
	headerStartDelivery = "__STARTDELIVERTIME"  // the same, of programs written for RocketMQ
	headerScheduleID    = "x-schedule-id"       // the name of what is held until then
	headerScheduledAt   = "x-scheduled-at"      // of the broker: when it was due, unix milliseconds
)

// delay is what the headers of a message ask for.
type delay struct {
	relative, absolute int64 // milliseconds; the second since 1970
	byTime             bool  // absolute is given
	name               string
}

// asksDelay tells whether a header may say when the message is to be delivered.
func asksDelay(name []byte) bool {
	switch string(name) {
	case headerDelay, headerDeliveryTime, headerStartDelivery, headerScheduleID:
		return true
	}
	return false
}

// readDelay reads those headers.
func readDelay(headers wire.Table) (d delay, err error) {
	for it := headers.Iter(); it.Next(); {
		if !asksDelay(it.Name()) {
			continue
		}
		name := string(it.Name())
		v, err := it.Value()
		if err != nil {
			return d, malformed(wire.IDBasicPublish, err)
		}
		if name == headerScheduleID {
			if d.name, err = scheduleName(v); err != nil {
				return d, err
			}
			continue
		}
		ms, ok := delayOf(v, name != headerDelay)
		switch {
		case !ok:
			return d, refuse(codePreconditionFailed, "invalid header '%s': a number of milliseconds is expected", name)
		case name == headerDelay:
			d.relative = ms
		default:
			d.absolute, d.byTime = ms, true
		}
	}
	switch {
	case d.byTime && d.relative > 0:
		return d, refuse(codePreconditionFailed, "headers '%s' and '%s' exclude each other", headerDelay, headerDeliveryTime)
	case d.name != "" && !d.byTime && d.relative <= 0:
		return d, refuse(codePreconditionFailed, "header '%s' needs '%s' or '%s'", headerScheduleID, headerDelay, headerDeliveryTime)
	}
	return d, nil
}

// scheduleName reads the name of a schedule.
func scheduleName(v any) (string, error) {
	name, ok := v.(string)
	if !ok || name == "" || len(name) > core.MaxScheduleName {
		return "", refuse(codePreconditionFailed, "invalid header '%s': a string of 1 to %d bytes is expected",
			headerScheduleID, core.MaxScheduleName)
	}
	return name, nil
}

// delayOf reads a number of milliseconds, or a text that is one. With asTime a timestamp is one too.
func delayOf(v any, asTime bool) (ms int64, ok bool) {
	switch v := plainValue(v).(type) {
	case int64:
		return v, true
	case string:
		ms, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return ms, err == nil
	case time.Time:
		return v.UnixMilli(), asTime && v.Year() < 10000
	}
	return 0, false
}

// schedule has the message held if its headers ask for that. They are those of p, in
// which the delay is negated then, as programs written for RabbitMQ's plugin expect.
func (ch *channel) schedule(m *core.Message, p *wire.Properties) (changed bool, err error) {
	d, err := readDelay(p.Headers)
	if err != nil || !d.byTime && d.relative <= 0 {
		return false, err
	}
	if d.byTime {
		m.DeliverAt, err = ch.broker().DueAt(d.absolute)
	} else {
		m.DeliverAt, err = ch.broker().DueIn(d.relative)
	}
	if err != nil {
		return false, err
	}
	if d.name != "" {
		if ch.tx != nil {
			return false, refuse(codeNotImplemented, "header '%s' in a transaction", headerScheduleID)
		}
		m.Schedule = []byte(d.name)
		m.ReplacesAny = ch.c.permit(gateway.Write, "exchange", delayedExchange) == nil
	}
	headers := p.Headers.AppendWithout(nil, headerScheduledAt)
	added := []wire.Field{{Name: headerScheduledAt, Value: m.DeliverAt}}
	if d.relative > 0 {
		headers = headers.AppendWithout(nil, headerDelay)
		added = append(added, wire.Field{Name: headerDelay, Value: negated(d.relative)})
	}
	p.Headers = slices.Concat(headers, wire.EncodeTable(added))
	return true, nil
}

// negated is a delay below 0, with 32 bits if it fits: not all clients read a negative
// number of 64 bits as one.
func negated(ms int64) any {
	if ms <= math.MaxInt32 {
		return int32(-ms)
	}
	return -ms
}

// Cancels of what is held are publishes to this exchange, which is the server's own.
const (
	delayedExchange = "amq.delayed"
	cancelKey       = "cancel"
)

// cancelSchedule acts on a publish to the exchange of schedules. Its confirm says that
// what was held will not be delivered; a return before that, that there was nothing, or
// that it is delivered.
func (ch *channel) cancelSchedule(key []byte, p *wire.Properties) error {
	if string(key) != cancelKey {
		return refuse(codePreconditionFailed, "exchange '%s' has no operation '%s', only '%s'", delayedExchange, key, cancelKey)
	}
	v, ok := p.Headers.Lookup(headerScheduleID)
	if !ok {
		return refuse(codePreconditionFailed, "header '%s' is missing", headerScheduleID)
	}
	name, err := scheduleName(v)
	if err != nil {
		return err
	}
	if ch.tx != nil {
		return refuse(codeNotImplemented, "cancel of a schedule in a transaction")
	}
	if err := ch.needPublisher(); err != nil {
		return err
	}
	if ch.publisher.confirming {
		ch.publisher.hold()
		defer ch.publisher.unhold()
	}
	done, found, err := ch.publisher.engine.Cancel([]byte(name))
	if err != nil {
		return err
	}
	ch.publisher.last.Store(done.Seq)
	if !found {
		ch.sendBack(codeNotFound, &core.Message{
			Exchange: []byte(delayedExchange), Key: key, Properties: ch.content.names[ch.content.key:], Payload: ch.content.payload,
		})
	}
	return nil
}
