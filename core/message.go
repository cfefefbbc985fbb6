package core

import (
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// Format tells in whose protocol the property bytes and the key of a message
// are written. The numbers are part of the log's format.
type Format = record.Format

// The formats that adapters register decoders for, see [Config.Formats].
const (
	FormatAMQP Format = 1 // AMQP 0-9-1: property flags and list; key is a routing key
	FormatMQTT Format = 2 // MQTT: v5 property bytes without their length; key is a topic
)

// Message is one message as its publisher sent it. The byte slices of a
// message given to [Publisher.Publish] are copied before it returns; those of
// a [Delivery] are valid until the next call of Next on the same consumer and
// must not be changed.
type Message struct {
	Format   Format
	Exchange []byte // name of the exchange; MQTT publishes use TopicExchange
	Key      []byte // routing key, or topic for FormatMQTT
	// MoreKeys are further routing keys that the message is routed by. They are not
	// stored with it, but for HiddenKeys: those of them that the properties do not tell
	// of, for the dead letters of the message.
	MoreKeys   [][]byte
	HiddenKeys [][]byte
	Properties []byte // native property bytes
	Payload    []byte
	QoS        uint8 // as published; AMQP: 1 for delivery-mode 2, else 0
	Retain     bool  // becomes the retained value of its topic (MQTT only)
	// Lossy lets the message be dropped, rather than refused, where it would have
	// to be stored while there is pressure; sessions that get it from memory do.
	Lossy bool
	// Priority is that of the message, if PriorityKnown; else it is looked for in the
	// properties where a queue asks for it. Deliveries do not tell it.
	Priority      uint8
	PriorityKnown bool
	// Time is when the broker took the message, unix milliseconds. Publish
	// ignores it.
	Time int64
	// ExpireAt is when the message must no longer be delivered, unix
	// milliseconds; 0 means never.
	ExpireAt int64
	// DeliverAt, when it is not 0, is when the message is delivered, unix milliseconds,
	// see [Broker.DueIn]: it is held until then. At once, if that is in the past.
	// Deliveries do not tell it.
	DeliverAt int64
	// Schedule is the name of a message with a DeliverAt in its namespace, if it has
	// one, at most [MaxScheduleName] bytes: it takes the place of the one that is held
	// under that name.
	Schedule []byte
	// ReplacesAny lets it take the place of any message of that name. Without it that is
	// one with the same exchange and key; another is not given up, and the publish is
	// refused with ErrNotOwner.
	ReplacesAny bool
	// Once, when its Session is not 0, makes the publish exactly-once: a second
	// publish with the same value before [Session.Release] stores nothing.
	Once Once

	own bool // of the broker itself, see Announce
	// Of dead letters: avoid are the queues that it must not come to; cycled tells
	// that it would have. spilled are those of messages that a full queue refused: the
	// message was admitted. A whole one goes to all of its queues or to none.
	dead    bool
	avoid   []string
	cycled  bool
	spilled bool
	whole   bool
}

// expired tells whether a message that a queue hands out is over. One without any
// time to live is not: the queue has it go to a consumer at once or never.
func (m *Message) expired(now int64) bool {
	return m.ExpireAt != 0 && m.ExpireAt <= now && !shard.HadNoTime(m.ExpireAt, m.Time)
}

// Once identifies an exactly-once publish: a session and the number that its
// client gave to the message.
type Once = record.Once

// TopicExchange is the exchange of every namespace that MQTT publishes to and
// MQTT filters are bound to.
const TopicExchange = "amq.topic"

// Delivery is a message on its way to a consumer. It stays unsettled until
// Settle is called with its Position.
type Delivery struct {
	Message  Message
	Position Position
	// Redelivered tells that the message may have been delivered before.
	Redelivered bool
	// Returns is how often it was given back before, since the start and on queues of
	// type quorum.
	Returns uint32
	// Shared tells that the delivery is of a shared subscription: when the connection ends
	// before it is settled, others get it, unless a value of the session tells of it, see
	// [Deps.Lent].
	Shared bool
	// Subscriptions are those of the session that matched; nil for queues.
	Subscriptions []SubID
	// Retained tells that the message is delivered because it was the retained
	// value of its topic when the session subscribed.
	Retained bool
}

// Outcome is what a consumer says of a delivery.
type Outcome uint8

// The outcomes of a delivery.
const (
	Ack     Outcome = iota + 1 // done; never delivered again
	Requeue                    // back to its original place, marked redelivered
	Discard                    // given up: removed without being processed; a dead letter, where the queue has an exchange for these
)
