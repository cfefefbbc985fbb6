package amqp

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/gateway"
)

// announce makes the connection known to those who look after the broker.
func (c *connection) announce() error {
	given, _ := textOf(c.about, "connection_name")
	return c.conn.Announce(gateway.Client{
		Protocol:   "AMQP 0-9-1",
		User:       c.principal.User,
		Namespace:  c.namespace,
		Given:      given,
		Mechanism:  c.mechanism,
		Properties: c.properties,
		ChannelMax: uint32(c.limits.channelMax),
		FrameMax:   c.limits.frameMax,
		Heartbeat:  c.limits.heartbeat,
		Close:      func(reason string) { c.interrupt(refuse(codeConnectionForced, "%s", reason)) },
		Channels:   c.listChannels,
		State:      c.standing,
	})
}

// properties decodes what the client said of itself; it is kept as it came,
// which takes less room.
func (c *connection) properties() map[string]any {
	args, err := plainTable(c.about)
	if err != nil {
		return nil
	}
	return args
}

// standing tells whether publishes are held, or the next one will be, from any goroutine.
func (c *connection) standing() gateway.State {
	if c.withheld.Load() {
		return gateway.Blocked
	}
	if c.srv.broker.Pressure().Any() {
		return gateway.Blocking
	}
	return gateway.Running
}

// addChannel opens a channel, for the reader and for listChannels.
func (c *connection) addChannel(ch *channel) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.channels[ch.id] = ch
}

func (c *connection) dropChannel(id uint16) {
	c.conn.CloseChannel()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	delete(c.channels, id)
}

// listChannels describes the channels as they are now, from any goroutine.
func (c *connection) listChannels() []gateway.Channel {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	list := make([]gateway.Channel, 0, len(c.channels))
	for _, ch := range c.channels {
		list = append(list, ch.describe())
	}
	slices.SortFunc(list, func(a, b gateway.Channel) int { return cmp.Compare(a.Number, b.Number) })
	return list
}

// describe tells of the channel. The output's lock is held.
func (ch *channel) describe() gateway.Channel {
	d := gateway.Channel{
		Number: ch.id, Prefetch: ch.prefetch, GlobalPrefetch: ch.globalPrefetch,
		Traffic: ch.traffic(), Unacked: ch.unacked.len(), Confirms: ch.confirmer != nil, Transactional: ch.inTx != nil,
	}
	if p := ch.confirmer; p != nil {
		d.Unconfirmed = max(p.last.Load(), p.settled) - p.settled
	}
	if ch.inTx != nil {
		d.Uncommitted, d.UncommittedAcks = int(ch.inTx.publishes.Load()), int(ch.inTx.acks.Load())
	}
	for _, k := range ch.consumers {
		args, err := plainTable(k.args)
		if err != nil {
			args = nil
		}
		d.Consumers = append(d.Consumers, gateway.Consumer{
			Tag: k.tag, Queue: k.queue, NoAck: k.noAck, Exclusive: k.exclusive,
			Waiting: !k.engine.Active(), Prefetch: k.prefetch, Args: args,
		})
	}
	slices.SortFunc(d.Consumers, func(a, b gateway.Consumer) int { return cmp.Compare(a.Tag, b.Tag) })
	return d
}
