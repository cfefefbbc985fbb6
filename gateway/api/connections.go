package api

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/tidegate/tidegate/gateway"
)

// endpoint splits an address for JSON.
func endpoint(addr net.Addr) (host string, port int) {
	if addr == nil {
		return "", 0
	}
	host, text, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String(), 0
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		return host, 0
	}
	return host, port
}

// connectionDetails is how other objects refer to a connection.
func connectionDetails(c *gateway.Connected) object {
	host, port := endpoint(c.Conn.RemoteAddr())
	return object{"name": c.Name, "peer_host": host, "peer_port": port}
}

func (a *API) describeConnection(c *gateway.Connected) object {
	o := connectionDetails(c)
	host, port := endpoint(c.Conn.LocalAddr())
	properties := map[string]any{}
	if c.Properties != nil {
		properties = orEmpty(c.Properties())
	}
	channels := 0
	if c.Channels != nil {
		channels = len(c.Channels())
	}
	maps.Copy(o, object{
		"user": c.User, "vhost": c.Namespace, "protocol": c.Protocol, "auth_mechanism": c.Mechanism,
		"user_provided_name": c.Given, "client_properties": properties, "channels": channels,
		"channel_max": c.ChannelMax, "frame_max": c.FrameMax, "timeout": int(c.Heartbeat.Seconds()),
		"host": host, "port": port, "ssl": c.Conn.Secure, "node": a.Node, "type": "network", "state": standing(c),
		"connected_at": c.Since.UnixMilli(), "user_who_performed_action": c.User,
	})
	if received, sent, ok := c.Conn.Traffic(); ok {
		a.rates.putCounts(o, "connection "+c.Conn.ID, c.Since, counted{name: "recv_oct", value: received}, counted{name: "send_oct", value: sent})
	}
	return o
}

// standing is the word for whether the connection's publishes are taken.
func standing(c *gateway.Connected) string {
	if c.State == nil {
		return gateway.Running.String()
	}
	return c.State().String()
}

// visibleClients are the connections that the user sees: its own, or with the
// tag monitoring all of them.
func (a *API) visibleClients(r *request) []*gateway.Connected {
	return slices.DeleteFunc(a.Clients.List(), func(c *gateway.Connected) bool { return !r.owns(c) })
}

// owns tells whether the user may see a connection.
func (r *request) owns(c *gateway.Connected) bool { return r.seesAll() || c.User == r.user.User }

func (a *API) listConnections(_ context.Context, r *request) (answer, error) {
	return found(list(a.visibleClients(r), a.describeConnection))
}

func (a *API) vhostConnections(_ context.Context, r *request) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	return found(list(slices.DeleteFunc(a.visibleClients(r), func(c *gateway.Connected) bool {
		return c.Namespace != vhost
	}), a.describeConnection))
}

// connection returns the connection of the path.
func (a *API) connection(r *request) (*gateway.Connected, error) {
	c, ok := a.Clients.Find(r.PathValue("name"))
	if !ok {
		return nil, errMissing
	}
	if !r.owns(c) {
		return nil, notAuthorised("User not authorised to access object")
	}
	return c, nil
}

// connectionOf returns the connection with the identifier, nil if it is gone.
func (a *API) connectionOf(id string) *gateway.Connected {
	for _, c := range a.Clients.List() {
		if c.Conn.ID == id {
			return c
		}
	}
	return nil
}

func (a *API) getConnection(_ context.Context, r *request) (answer, error) {
	c, err := a.connection(r)
	if err != nil {
		return answer{}, err
	}
	return found(a.describeConnection(c))
}

// closeReason is what the client is told: the header X-Reason, or the words
// that programs for RabbitMQ know.
func closeReason(r *request) string {
	if reason := r.Header.Get("X-Reason"); reason != "" {
		return reason
	}
	return "Closed via management plugin"
}

func (r *request) mayClose(c *gateway.Connected) bool {
	return c.User == r.user.User || r.user.HasTag(gateway.TagAdministrator)
}

func (a *API) closeConnection(_ context.Context, r *request) (answer, error) {
	c, err := a.connection(r)
	if err != nil {
		return answer{}, err
	}
	if !r.mayClose(c) {
		return answer{}, notAuthorised("User not authorised to close the connection")
	}
	c.Close(closeReason(r))
	return done()
}

func (a *API) closeUserConnections(_ context.Context, r *request) (answer, error) {
	if r.PathValue("name") != "username" {
		return answer{}, errMissing
	}
	a.Clients.CloseAll(closeReason(r), func(c *gateway.Connected) bool {
		return c.User == r.PathValue("part") && r.mayClose(c)
	})
	return done()
}

// connectionPart answers for the channels of a connection, or for all
// connections of a user.
func (a *API) connectionPart(_ context.Context, r *request) (answer, error) {
	part := r.PathValue("part")
	switch {
	case r.PathValue("name") == "username":
		return found(list(slices.DeleteFunc(a.visibleClients(r), func(c *gateway.Connected) bool {
			return c.User != part
		}), a.describeConnection))
	case part != "channels":
		return answer{}, errMissing
	}
	c, err := a.connection(r)
	if err != nil {
		return answer{}, err
	}
	return found(orNone(a.channelsOf(c)))
}

// channelName is how a channel is called.
func channelName(c *gateway.Connected, number uint16) string {
	return fmt.Sprintf("%s (%d)", c.Name, number)
}

func (a *API) describeChannel(c *gateway.Connected, ch *gateway.Channel) object {
	o := object{
		"name": channelName(c, ch.Number), "number": ch.Number, "connection_details": connectionDetails(c),
		"user": c.User, "vhost": c.Namespace, "node": a.Node, "state": "running",
		"consumer_count": len(ch.Consumers), "messages_unacknowledged": ch.Unacked,
		"prefetch_count": ch.Prefetch, "global_prefetch_count": ch.GlobalPrefetch,
		"confirm": ch.Confirms, "messages_unconfirmed": ch.Unconfirmed,
		"transactional": ch.Transactional, "messages_uncommitted": ch.Uncommitted, "acks_uncommitted": ch.UncommittedAcks,
		"user_who_performed_action": c.User,
	}
	a.putTraffic(o, key("channel", c.Conn.ID, strconv.Itoa(int(ch.Number))), c.Since, trafficOf(&ch.Traffic))
	return o
}

func (a *API) channelsOf(c *gateway.Connected) []object {
	if c.Channels == nil {
		return nil
	}
	channels := c.Channels()
	out := make([]object, 0, len(channels))
	for i := range channels {
		out = append(out, a.describeChannel(c, &channels[i]))
	}
	return out
}

func (a *API) listChannels(_ context.Context, r *request) (answer, error) {
	out := []object{}
	for _, c := range a.visibleClients(r) {
		out = append(out, a.channelsOf(c)...)
	}
	return found(out)
}

func (a *API) vhostChannels(_ context.Context, r *request) (answer, error) {
	vhost, err := a.vhost(r)
	if err != nil {
		return answer{}, err
	}
	out := []object{}
	for _, c := range a.visibleClients(r) {
		if c.Namespace == vhost {
			out = append(out, a.channelsOf(c)...)
		}
	}
	return found(out)
}

func (a *API) getChannel(_ context.Context, r *request) (answer, error) {
	for _, c := range a.visibleClients(r) {
		if c.Channels == nil {
			continue
		}
		channels := c.Channels()
		for i := range channels {
			if channelName(c, channels[i].Number) != r.PathValue("name") {
				continue
			}
			o := a.describeChannel(c, &channels[i])
			o["consumer_details"] = a.describeConsumers(c, &channels[i])
			return found(o)
		}
	}
	return answer{}, errMissing
}

func (a *API) describeConsumers(c *gateway.Connected, ch *gateway.Channel) []object {
	out := []object{}
	for _, k := range ch.Consumers {
		details := connectionDetails(c)
		details["connection_name"], details["name"] = c.Name, channelName(c, ch.Number)
		details["number"], details["node"], details["user"] = ch.Number, a.Node, c.User
		out = append(out, object{
			"consumer_tag": k.Tag, "queue": object{"name": k.Queue, "vhost": c.Namespace},
			"ack_required": !k.NoAck, "exclusive": k.Exclusive, "prefetch_count": k.Prefetch,
			"arguments": orEmpty(k.Args), "active": !k.Waiting, "activity_status": activity(&k), "channel_details": details,
		})
	}
	return out
}

// activity is the word for whether the consumer gets messages.
func activity(k *gateway.Consumer) string {
	if k.Waiting {
		return "waiting"
	}
	return "up"
}

// consumersOf lists the consumers of a queue, whoever they belong to.
func (a *API) consumersOf(vhost, queue string) []object {
	out := []object{}
	for _, c := range a.Clients.List() {
		if c.Namespace != vhost || c.Channels == nil {
			continue
		}
		channels := c.Channels()
		for i := range channels {
			ch := &channels[i]
			ch.Consumers = slices.DeleteFunc(ch.Consumers, func(k gateway.Consumer) bool { return k.Queue != queue })
			out = append(out, a.describeConsumers(c, ch)...)
		}
	}
	return out
}

func (a *API) listConsumers(_ context.Context, r *request) (answer, error) {
	names, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	out := []object{}
	for _, c := range a.Clients.List() {
		if !slices.Contains(names, c.Namespace) || c.Channels == nil {
			continue
		}
		channels := c.Channels()
		for i := range channels {
			out = append(out, a.describeConsumers(c, &channels[i])...)
		}
	}
	return found(out)
}
