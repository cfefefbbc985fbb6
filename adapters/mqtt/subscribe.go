package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// reservedFilters are first levels of features that have their own filter form.
var reservedFilters = [...]string{"$stream", "$delayed", "$txn"}

// onSubscribe adds subscriptions. The SUBACK leaves when they are as durable as
// the session and publishes see them; filters that are refused do not keep the
// others from being granted.
func (c *conn) onSubscribe(ctx context.Context, flags byte, body []byte) error {
	p, err := wire.DecodeSubscribe(flags, body, c.v5)
	if err != nil {
		return err
	}
	reasons := make([]wire.Reason, len(p.Filters))
	readable := c.readRule()
	have := c.subs.Load()
	specs := make([]core.SubscriptionSpec, 0, len(p.Filters))
	place := make(map[string]int, len(p.Filters)) // filter → index in specs
	var claimed []string
	var refused string
	for i := range p.Filters {
		f := &p.Filters[i]
		reasons[i] = judgeFilter(f.Filter)
		var exclusive bool
		f.Filter, exclusive = cutExclusive(f.Filter)
		switch {
		case reasons[i].Failed():
			continue
		case !readable.allows(f.Filter):
			reasons[i] = wire.NotAuthorized
			continue
		case !have.has(f.Filter) && len(have.filters)+len(specs) >= c.srv.cfg.MaxSubscriptions:
			reasons[i] = wire.QuotaExceeded
			continue
		case c.unusable(f.Filter, &reasons[i], &refused):
			continue
		case exclusive && !c.session.Claim(f.Filter):
			reasons[i] = wire.QuotaExceeded
			continue
		case exclusive:
			claimed = append(claimed, f.Filter)
		}
		reasons[i] = wire.Reason(f.QoS)
		spec := core.SubscriptionSpec{
			Filter: f.Filter, QoS: f.QoS, NoLocal: f.NoLocal, Exclusive: exclusive,
			Data:     appendOptions(nil, f, p.Identifier),
			Retained: f.RetainHandling == 0 || f.RetainHandling == 1 && !have.has(f.Filter),
		}
		if at, again := place[f.Filter]; again { // the later one counts
			specs[at] = spec
			continue
		}
		place[f.Filter] = len(specs)
		specs = append(specs, spec)
	}
	// The SUBACK goes before the first message, although it need not.
	c.hold.Store(true)
	detail, err := c.subscribe(ctx, specs)
	if err != nil {
		for i := range reasons {
			if !reasons[i].Failed() {
				reasons[i] = reasonsFor(err).ack
			}
		}
		for _, filter := range claimed {
			c.session.Unclaim(filter)
		}
	}
	if detail == "" {
		detail = refused
	}
	err = c.suback(wire.TypeSuback, p.PacketID, reasons, detail)
	c.subs.Store(newSubscriptions(c.session.Subscriptions()))
	c.hold.Store(false)
	c.flush.wake()
	if slices.ContainsFunc(specs, func(spec core.SubscriptionSpec) bool {
		filter, _ := cutShared(spec.Filter)
		return isSys(filter)
	}) {
		c.srv.sys.ask()
	}
	return err
}

// subscribe hands the subscriptions to the engine. detail is what a client may
// be told about the error.
func (c *conn) subscribe(ctx context.Context, specs []core.SubscriptionSpec) (detail string, err error) {
	if len(specs) == 0 {
		return "", nil
	}
	c.endBurst()
	_, err = c.session.Subscribe(ctx, specs)
	if err != nil {
		c.log().Info("subscribe", slog.String("client_id", c.clientID), slog.Any("error", err))
		if e, ok := errors.AsType[*core.Error](err); ok {
			detail = e.Error()
		}
	}
	return detail, err
}

// exclusiveLevel is the first level of subscriptions that only one session may have.
const exclusiveLevel = "$exclusive"

// cutExclusive returns what is subscribed to, and whether for this session alone.
func cutExclusive(filter string) (string, bool) {
	topic, is := strings.CutPrefix(filter, exclusiveLevel+"/")
	if !is || topic == "" {
		return filter, false
	}
	return topic, true
}

// judgeFilter tells whether a filter can be subscribed to.
func judgeFilter(filter string) wire.Reason {
	first, _, _ := strings.Cut(filter, "/")
	switch {
	case first == shareLevel:
		return judgeShared(filter)
	case first == queueLevel:
		if _, queue := cutShared(filter); queue == "" || strings.ContainsAny(queue, "/+#") {
			return wire.TopicFilterInvalid
		}
		return wire.Success
	case !wire.ValidFilter(filter):
		return wire.TopicFilterInvalid
	case first == exclusiveLevel:
		topic, is := cutExclusive(filter)
		if !is || topic[0] == '$' || !wire.ValidTopic([]byte(topic)) {
			return wire.TopicFilterInvalid
		}
	}
	for _, reserved := range reservedFilters {
		if first == reserved {
			return wire.TopicFilterInvalid
		}
	}
	return wire.Success
}

// unusable tells whether a queue that is subscribed to can't be consumed, and why.
func (c *conn) unusable(filter string, reason *wire.Reason, detail *string) bool {
	_, queue := cutShared(filter)
	if queue == "" {
		return false
	}
	st, err := c.srv.broker.CheckQueue(c.namespace, queue, "")
	switch {
	case errors.Is(err, core.ErrNotFound):
		*reason, *detail = wire.NotAuthorized, "queue '"+queue+"' does not exist"
	case err != nil:
		*reason, *detail = reasonsFor(err).ack, "queue '"+queue+"' can't be consumed"
	case st.Stream:
		*reason, *detail = wire.ImplementationSpecific, "queue '"+queue+"' is a stream, which is not consumed so"
	default:
		return false
	}
	return true
}

// onUnsubscribe removes subscriptions.
func (c *conn) onUnsubscribe(ctx context.Context, flags byte, body []byte) error {
	p, err := wire.DecodeUnsubscribe(flags, body, c.v5)
	if err != nil {
		return err
	}
	reasons := make([]wire.Reason, len(p.Filters))
	var filters []string
	var places []int
	for i, f := range p.Filters {
		if reasons[i] = judgeFilter(f); reasons[i] == wire.Success {
			topic, _ := cutExclusive(f)
			filters, places = append(filters, topic), append(places, i)
		}
	}
	if len(filters) > 0 {
		c.endBurst()
		existed, err := c.session.Unsubscribe(ctx, filters)
		for i, at := range places {
			switch {
			case err != nil:
				reasons[at] = reasonsFor(err).ack
			case i < len(existed) && !existed[i]:
				reasons[at] = wire.NoSubscriptionExisted
			}
		}
		if err != nil && !c.v5 {
			return err // its UNSUBACK can't say that it failed
		}
		c.subs.Store(newSubscriptions(c.session.Subscriptions()))
	}
	return c.suback(wire.TypeUnsuback, p.PacketID, reasons, "")
}

// suback queues a SUBACK or UNSUBACK. One that is larger than the client takes
// can't be sent, and without it the client would wait for ever.
func (c *conn) suback(t wire.Type, id uint16, reasons []wire.Reason, detail string) error {
	if !c.problemInfo {
		detail = ""
	}
	b, err := wire.AppendSuback(nil, t, id, reasons, detail, c.v5)
	if err == nil && !c.out.fits(len(b)) {
		b, err = wire.AppendSuback(nil, t, id, reasons, "", c.v5)
	}
	if err != nil {
		return err
	}
	if !c.out.fits(len(b)) {
		return &wire.Error{Reason: wire.PacketTooLarge, Detail: "answer larger than the client takes"}
	}
	if c.out.reserve() {
		c.out.put(append(c.out.bytes(), b...))
		c.out.mu.Unlock()
		c.reader.answers = true
	}
	return nil
}
