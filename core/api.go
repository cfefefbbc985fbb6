package core

import (
	"time"

	"github.com/tidegate/tidegate/core/route"
)

// ExchangeTypes returns the types of exchange that can be declared.
func ExchangeTypes() []string { return route.Types() }

// ExchangeSpec declares an exchange.
type ExchangeSpec struct {
	Name       string
	Type       string // one of ExchangeTypes
	Durable    bool
	AutoDelete bool
	Internal   bool
	Args       map[string]any
}

// Routes is the type that the exchange routes as: its own, but for exchanges of type
// x-delayed-message, whose argument x-delayed-type tells that. "" is no such type.
func (x *ExchangeSpec) Routes() string { return route.Kind(x.Type, x.Args) }

// QueueSpec declares a queue.
type QueueSpec struct {
	Name       string // "" asks for a server-made name
	Durable    bool
	AutoDelete bool
	// Exclusive binds the queue to Owner: others get ErrLocked, and
	// ReleaseOwner deletes it.
	Exclusive bool
	// Owner names the declaring connection. It is needed on every queue call,
	// so that exclusive queues of others are refused.
	Owner string
	Args  map[string]any
}

// QueueStatus is what a declare answers.
type QueueStatus struct {
	Name      string
	Ready     uint64 // messages that wait for delivery
	Unsettled uint64 // messages delivered and not settled
	Consumers int
	// Stream tells that the queue is a stream queue: its messages stay when they
	// are consumed.
	Stream bool
}

// BindingSpec binds a queue or an exchange to an exchange by a key.
type BindingSpec struct {
	Source     string // exchange
	Dest       string // queue or exchange
	ToExchange bool
	Key        string
	Args       map[string]any
	Owner      string // see QueueSpec.Owner
}

// ConsumeSpec attaches a consumer to a queue.
type ConsumeSpec struct {
	Queue string
	Owner string // see QueueSpec.Owner
	// Exclusive refuses, or is refused, when another consumer exists. Queues of
	// type quorum and stream have no exclusive consumers.
	Exclusive bool
	// Priority has the consumer served before those of a lower one, as long as
	// it has room. The usual one is 0. On a stream queue it is that
	// within the group.
	Priority int64
	// Group, on a stream queue, shares the deliveries with all consumers that name
	// the same group, and keeps how far the group has got. Without one the consumer
	// reads for itself and its place ends with it.
	Group string
	// Start is where a stream queue is read from, unless the group has a cursor.
	Start Start
	// Match, on a stream queue and without a group, tells which messages the consumer
	// gets: the others are passed over, and count in no limit. It is called by Next and
	// must not keep the message. Without it the consumer gets all.
	Match func(*Message) bool
	// NoAck settles each delivery as it is handed out.
	NoAck bool
	// Limits are the prefetch limits that count this consumer's unsettled
	// deliveries; a delivery needs room in all of them. May be empty.
	Limits []*Limit
	// Notify is called, possibly with locks held and from any goroutine, when
	// Next may have something. It must not block nor call back.
	Notify func()
	// Cancelled is called once, like Notify, when the queue was deleted.
	Cancelled func()
}

// SessionSpec opens a durable or transient session.
type SessionSpec struct {
	ClientID string
	Owner    string // principal; another owner's session is refused with ErrNotOwner
	// Clean drops the state of an earlier session of the same client.
	Clean bool
	// Expiry is how long the session outlives its connection; 0 ends it with
	// the connection, Forever keeps it.
	Expiry time.Duration
	// Will, if not nil, is published when the connection is lost: when the handle is
	// closed without DropWill before, or another connection takes the session over. It
	// is durable when OpenSession returns. The broker keeps its slices.
	Will *Will
	// Admit, if not nil, is asked about the subscriptions of a session that was there and
	// would go on. Its error is that of OpenSession, which has changed nothing then: the
	// session and a will that waits are as they were, and a connection that has it stays.
	// It must not call back.
	Admit func([]Subscription) error
	// Kicked is called once, from another goroutine, when another connection
	// takes the session over. It must not block. The session handle is fenced
	// before it is called: Next returns nothing, Settle does nothing.
	Kicked func()
	// Notify is called, possibly with locks held and from any goroutine, when
	// Next may have something. It must not block nor call back. Required.
	Notify func()
	// Live gets a message that needs no storing: published with QoS 0, or
	// matched only by subscriptions of QoS 0. It is called in the publisher's
	// goroutine, must not block, must copy what it keeps, and returns false when
	// the message was dropped because the reader is too slow. Required.
	Live func(m *Message, subscriptions []SubID) bool
}

// Forever as a session's expiry keeps it until it is ended.
const Forever time.Duration = 1<<63 - 1

// SubscriptionSpec is one subscription of a session.
type SubscriptionSpec struct {
	// Filter is a valid MQTT topic filter (levels by '/', '+', '#'). With
	// `$share/<group>/` before it each message goes to one of the sessions that have the
	// same subscription; `$queue/<name>` is a queue, of which the session is one more
	// consumer. Messages of these come to who is connected, and have Delivery.Shared.
	Filter string
	QoS    uint8
	// NoLocal withholds messages that this same session published.
	NoLocal bool
	// Exclusive keeps other sessions from such a subscription of the filter, as long as
	// this one is there; see [Session.Claim]. Subscriptions that are not exclusive are
	// not affected.
	Exclusive bool
	// Data is kept for the adapter with the subscription, and is durable with it.
	Data []byte
	// Retained asks for the retained messages that match; they come through
	// Next, with Delivery.Retained set.
	Retained bool
}

// SubID names a subscription within its session.
type SubID uint32

// Subscription is a subscription that a session has.
type Subscription struct {
	ID        SubID
	Filter    string
	QoS       uint8
	NoLocal   bool
	Exclusive bool
	Data      []byte
}
