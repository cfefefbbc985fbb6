package api

import (
	"time"

	"github.com/tidegate/tidegate/core"
)

// trafficOf are the counters of a channel, a virtual host or all of these, by
// RabbitMQ's names.
func trafficOf(t *core.Traffic) []counted {
	return append(queueTrafficOf(t),
		counted{name: "confirm", value: t.Confirmed},
		counted{name: "return_unroutable", value: t.Returned},
		counted{name: "drop_unroutable", value: t.Unroutable - min(t.Unroutable, t.Returned)})
}

// deliveriesOf are the counters of what left a queue.
func deliveriesOf(t *core.Traffic) []counted {
	return []counted{
		{name: "deliver", value: t.Delivered},
		{name: "deliver_no_ack", value: t.DeliveredNoAck},
		{name: "get", value: t.Got},
		{name: "get_no_ack", value: t.GotNoAck},
		{name: "get_empty", value: t.GotEmpty},
		{name: "deliver_get", value: t.Delivered + t.DeliveredNoAck + t.Got + t.GotNoAck},
		{name: "redeliver", value: t.Redelivered},
		{name: "ack", value: t.Acked},
	}
}

// queueTrafficOf are the counters of a queue.
func queueTrafficOf(t *core.Traffic) []counted {
	return append(deliveriesOf(t), counted{name: "publish", value: t.Published})
}

// exchangeTrafficOf are the counters of an exchange.
func exchangeTrafficOf(t *core.Traffic) []counted {
	return []counted{{name: "publish_in", value: t.Published}, {name: "publish_out", value: t.Routed}}
}

// putTraffic sets message_stats in o: counters since some time, and their rates, which
// are remembered by the key.
func (a *API) putTraffic(o object, key string, since time.Time, counts []counted) {
	stats := object{}
	a.rates.putCounts(stats, key, since, counts...)
	o["message_stats"] = stats
}

// putMessages sets in o how many messages there are, and how fast that changes.
func (a *API) putMessages(o object, key string, ready, unacked uint64) {
	a.rates.putCounts(o, key, a.started,
		counted{"messages", ready + unacked, true}, counted{"messages_ready", ready, true},
		counted{"messages_unacknowledged", unacked, true})
}

// key names what rates are remembered of.
func key(kind, vhost, name string) string { return kind + "\x00" + vhost + "\x00" + name }

// sumOf adds up what went through several virtual hosts.
func sumOf(all []core.Traffic) (sum core.Traffic) {
	for i := range all {
		t := &all[i]
		sum.Published += t.Published
		sum.Unroutable += t.Unroutable
		sum.Returned += t.Returned
		sum.Confirmed += t.Confirmed
		sum.Delivered += t.Delivered
		sum.DeliveredNoAck += t.DeliveredNoAck
		sum.Got += t.Got
		sum.GotNoAck += t.GotNoAck
		sum.GotEmpty += t.GotEmpty
		sum.Redelivered += t.Redelivered
		sum.Acked += t.Acked
	}
	return sum
}

// putIdle tells since when a queue has not been used, if it was since the start.
func putIdle(o object, used time.Time) {
	if !used.IsZero() {
		o["idle_since"] = used.UTC().Format("2006-01-02T15:04:05.000-07:00")
	}
}
