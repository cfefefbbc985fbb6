package mqtt

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// User properties that say when a message is to be delivered, and what a delivered one
// is told of that. They are the headers of AMQP.
const (
	userDelay         = "x-delay"             // milliseconds from now on
	userDeliveryTime  = "x-opt-delivery-time" // unix milliseconds
	userStartDelivery = "__STARTDELIVERTIME"  // the same, of programs written for RocketMQ
	userScheduleID    = "x-schedule-id"       // the name of what is held until then
	userScheduledAt   = "x-scheduled-at"      // of the broker: when it was due, unix milliseconds
)

// The topics of clients that have no properties: a publish to $delayed/<s>/<topic> is
// held, one to $delayed/cancel/<id> gives up what is.
const (
	delayedLevel = "$delayed/"
	cancelLevel  = "cancel"
	// absoluteFrom is from which number of seconds on they are unix time.
	absoluteFrom = 4_294_967
)

// delay is when a publish is to be delivered.
type delay struct {
	relative, absolute int64 // milliseconds; the second since 1970
	byTime             bool  // absolute is given
	name               string
	cancel             bool // gives up what is held under the name
	given              int  // times
}

func (d *delay) asks() bool { return d.byTime || d.relative > 0 }

// takeDelay reads what a publish asks for, and leaves its topic in it without that.
func takeDelay(p *wire.Publish) (d delay, reason wire.Reason, detail string) {
	if rest, ok := bytes.CutPrefix(p.Topic, []byte(delayedLevel)); ok {
		if reason, detail = d.takeTopic(p, rest); reason.Failed() || d.cancel {
			return d, reason, detail
		}
	}
	if !mayAsk(p.Properties) {
		return d, wire.Success, ""
	}
	for r := wire.PublishProperties(p.Properties); ; {
		prop, ok, err := r.Next()
		if err != nil || !ok {
			break
		}
		if prop.ID != wire.PropUser || !asksDelay(prop.Data) {
			continue
		}
		if reason, detail = d.takeUser(string(prop.Data), string(prop.Value)); reason.Failed() {
			return d, reason, detail
		}
	}
	switch {
	case d.given > 1:
		return d, wire.PayloadFormatInvalid, "the message has two times of delivery"
	case d.name != "" && !d.asks():
		return d, wire.PayloadFormatInvalid, "user property '" + userScheduleID + "' needs '" + userDelay + "' or '" + userDeliveryTime + "'"
	}
	return d, wire.Success, ""
}

// mayAsk tells whether properties may have one that asks for a delay.
func mayAsk(props []byte) bool {
	return bytes.Contains(props, []byte("x-")) || bytes.Contains(props, []byte(userStartDelivery))
}

// asksDelay tells whether a user property says when the message is to be delivered.
func asksDelay(name []byte) bool {
	switch string(name) {
	case userDelay, userDeliveryTime, userStartDelivery, userScheduleID:
		return true
	}
	return false
}

// takeTopic reads what is behind the first level of a topic.
func (d *delay) takeTopic(p *wire.Publish, rest []byte) (wire.Reason, string) {
	level, topic, ok := bytes.Cut(rest, []byte("/"))
	if !ok || len(topic) == 0 {
		return wire.TopicNameInvalid, "topic is not $delayed/<seconds>/<topic> nor $delayed/cancel/<id>"
	}
	if string(level) == cancelLevel {
		if len(topic) > core.MaxScheduleName {
			return wire.TopicNameInvalid, "name of a schedule is too long"
		}
		d.cancel, d.name = true, string(topic)
		return wire.Success, ""
	}
	seconds, err := strconv.ParseUint(string(level), 10, 40)
	if err != nil {
		return wire.TopicNameInvalid, "'" + string(level) + "' is no number of seconds"
	}
	if seconds > absoluteFrom {
		d.absolute, d.byTime = int64(seconds)*1000, true
	} else {
		d.relative = int64(seconds) * 1000
	}
	d.given++
	p.Topic = topic
	return wire.Success, ""
}

// takeUser reads a user property.
func (d *delay) takeUser(name, value string) (wire.Reason, string) {
	switch name {
	case userScheduleID:
		if value == "" || len(value) > core.MaxScheduleName {
			return wire.PayloadFormatInvalid, "user property '" + name + "' must have 1 to " + strconv.Itoa(core.MaxScheduleName) + " bytes"
		}
		d.name = value
	case userDelay, userDeliveryTime, userStartDelivery:
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return wire.PayloadFormatInvalid, "user property '" + name + "' is no number of milliseconds"
		}
		if name != userDelay {
			d.absolute, d.byTime = ms, true
			d.given++
		} else if ms > 0 {
			d.relative = ms
			d.given++
		}
	}
	return wire.Success, ""
}

// schedule has the message held, as its publish asks for. Its properties tell when it was
// due, and a delay is negated in them: who publishes it again asks for none.
func (c *conn) schedule(m *core.Message, d *delay) (err error) {
	if !d.asks() {
		return nil
	}
	if d.byTime {
		m.DeliverAt, err = c.srv.broker.DueAt(d.absolute)
	} else {
		m.DeliverAt, err = c.srv.broker.DueIn(d.relative)
	}
	if err != nil {
		return err
	}
	if d.name != "" {
		m.Schedule = []byte(d.name)
		m.ReplacesAny = c.mayPublish([]byte(delayedLevel + cancelLevel + "/" + d.name))
	}
	m.Properties = scheduledProperties(m.Properties, m.DeliverAt)
	return nil
}

// scheduledProperties are those of a message that is due at a time.
func scheduledProperties(props []byte, at int64) []byte {
	out := make([]byte, 0, len(props)+48)
	for r := wire.PublishProperties(props); ; {
		p, ok, err := r.Next()
		if err != nil || !ok {
			break
		}
		name := ""
		if p.ID == wire.PropUser {
			name = string(p.Data)
		}
		switch name {
		case userScheduledAt:
		case userDelay:
			value := string(p.Value)
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && ms > 0 {
				value = strconv.FormatInt(-ms, 10)
			}
			out = wire.AppendUserProperty(out, userDelay, value)
		default:
			out = append(out, props[p.Start:p.End]...)
		}
	}
	return wire.AppendUserProperty(out, userScheduledAt, strconv.FormatInt(at, 10))
}

// refuseSchedule answers a publish that asks for a time that can't be had.
func (c *conn) refuseSchedule(p *wire.Publish, err error) error {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Arg == "max-delay" {
		return c.refusePublish(p, wire.PayloadFormatInvalid, "the time of delivery is further ahead than "+e.Current)
	}
	return c.refusePublish(p, reasonsFor(err).ack, err.Error())
}

func (c *conn) cancel(name []byte) (done core.Published, found bool, err error) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	p, err := c.openPublisher()
	if err != nil {
		return done, false, err
	}
	return p.Cancel(name)
}

// cancelSchedule gives up what is held under a name. That is acknowledged when it is
// certain; that there was nothing, or that it is being delivered, is a refusal.
func (c *conn) cancelSchedule(p *wire.Publish, name string) error {
	if p.QoS > 0 && c.held.count.Load() > 0 { // behind those that came before
		c.withholdOne(&core.Message{QoS: p.QoS, Schedule: []byte(name)}, p.PacketID, true)
		return nil
	}
	done, found, err := c.cancel([]byte(name))
	switch {
	case err != nil:
		return c.refusePublish(p, reasonsFor(err).ack, err.Error())
	case !found:
		return c.refusePublish(p, wire.ImplementationSpecific, "no schedule '"+name+"'")
	case p.QoS > 0:
		c.answer(session.PendingAck{Seq: done.Seq, ID: p.PacketID, QoS: p.QoS})
	}
	return nil
}
