package core

import (
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// Death tells of a message that a queue gives up and of its dead letter.
type Death struct {
	// Queue gave it up, at Time, for Reason: rejected, expired, maxlen or
	// delivery_limit.
	Queue, Reason string
	Time          time.Time
	// Message is the message as it is in the queue; its bytes must not be changed.
	Message *Message
	// Known tells that the broker has written the deaths that the properties of
	// the message tell of. Otherwise a client has, and they are not believed.
	Known bool
	// Keyed tells that the dead letter has another routing key than the message: it
	// goes by that alone.
	Keyed bool
}

// DeadLetter is what a death makes of a message. Its format is FormatAMQP.
type DeadLetter struct {
	// Key is the routing key of the message, in the words of FormatAMQP.
	Key        []byte
	Properties []byte
	// MoreKeys are further routing keys of the message.
	MoreKeys [][]byte
	// Past is what is known of the deaths of the message, this one first.
	Past []PastDeath
}

// PastDeath is a death of a message in a queue, however often.
type PastDeath struct{ Queue, Reason string }

// DeathWriter writes the properties of a dead letter: without a time to live, and
// with the deaths of the message.
type DeathWriter func(b *Broker, d *Death) (DeadLetter, error)

// reasons are the words for why a message died.
var reasons = [...]string{
	shard.Rejected: reasonRejected, shard.Expired: "expired", shard.TooLong: "maxlen", shard.Returned: "delivery_limit",
}

const reasonRejected = "rejected"

// cycles returns the queues that the message must not come to once more: those in
// which it died while nobody has rejected it since. What was just rejected may go
// anywhere.
func cycles(past []PastDeath) (queues []string) {
	for i := range past {
		if past[i].Reason == reasonRejected {
			break
		}
		if !slices.Contains(queues, past[i].Queue) {
			queues = append(queues, past[i].Queue)
		}
	}
	return queues
}

// afterlife is where a queue sends what it gives up.
type afterlife struct {
	there    bool
	exchange string
	key      string
	keyed    bool // else the keys are those of the message
	// strict keeps a message that matches no queue.
	strict bool
	// own is the afterlife of a group that shares a filter: a queue with the name that key
	// tells, made when it is needed first. What expires does not go there.
	own bool
}

// queueAfterlife is what the arguments say.
func queueAfterlife(spec *QueueSpec) (a afterlife) {
	if a.exchange, a.there = spec.Args[argDeadExchange].(string); !a.there {
		return afterlife{}
	}
	a.key, a.keyed = spec.Args[argDeadKey].(string)
	a.strict = text(spec.Args[argDeadStrategy]) == "at-least-once"
	return a
}

// deadLetter makes the dead letter of a message.
func (b *Broker) deadLetter(m *Message, to afterlife, queue string, why shard.Reason, known bool) (*Message, error) {
	reason := reasons[why]
	written, err := b.deps.DeadLetter(b, &Death{
		Queue: queue, Reason: reason, Time: b.deps.Clock.Now(), Message: m, Known: known, Keyed: to.keyed,
	})
	if err != nil {
		return nil, err
	}
	letter := &Message{
		Format: FormatAMQP, Exchange: []byte(to.exchange), Key: written.Key,
		Properties: written.Properties, Payload: m.Payload, QoS: min(m.QoS, 1), dead: true,
	}
	if to.keyed {
		letter.Key = []byte(to.key)
	} else {
		letter.MoreKeys, letter.HiddenKeys = slices.Concat(written.MoreKeys, m.HiddenKeys), m.HiddenKeys
	}
	if reason != reasonRejected {
		letter.avoid = cycles(written.Past)
	}
	return letter, nil
}

// hiddenKeys are those of a record.
func hiddenKeys(stored []byte) (keys [][]byte) {
	for key, rest, ok := record.CutKey(stored); ok; key, rest, ok = record.CutKey(rest) {
		keys = append(keys, key)
	}
	return keys
}
