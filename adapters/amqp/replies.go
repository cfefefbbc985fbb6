package amqp

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// replyToQueue is the name under which a requester consumes direct replies, and
// asks for them; the address that responders see has more behind it.
const replyToQueue = "amq.rabbitmq.reply-to"

// maxReplies bounds the bytes of replies that wait on a connection that does not
// read; one reply may be larger. What comes beyond is dropped, as if the
// requester were gone.
const maxReplies = 16 << 20

func isReplyQueue(name string) bool {
	return name == replyToQueue || strings.HasPrefix(name, replyToQueue+".")
}

// replies is the consumer of a channel's direct replies, and the feed of its
// deliveries. They are not stored, and never acknowledged.
type replies struct {
	ch      *channel
	tag     string
	address string // what reply-to becomes
	inbox   *core.Inbox
	queued  atomic.Bool

	mu      sync.Mutex
	stopped bool           // guarded by mu
	waiting []core.Message // guarded by mu
}

// consumeReplies starts the channel's consumer of direct replies.
func (ch *channel) consumeReplies(m *wire.BasicConsume) error {
	tag := m.ConsumerTag
	if tag == "" {
		tag = randomName("amq.ctag-")
	}
	ch.c.out.mu.Lock()
	_, used := ch.consumers[tag]
	ch.c.out.mu.Unlock()
	switch {
	case used || ch.replies.has(tag):
		return refuse(codeNotAllowed, "attempt to reuse consumer tag '%s'", tag)
	case ch.replies != nil:
		return refuse(codePreconditionFailed, "reply consumer already set")
	case !m.NoAck:
		return refuse(codePreconditionFailed, "reply consumer cannot acknowledge")
	}
	r := &replies{ch: ch, tag: tag, address: randomName(replyToQueue + ".")}
	inbox, err := ch.broker().OpenInbox(ch.c.namespace, r.address, r.deliver)
	if err != nil {
		return err
	}
	r.inbox = inbox
	ch.replies = r
	if !m.NoWait {
		ch.reply(&wire.BasicConsumeOK{ConsumerTag: tag})
	}
	return nil
}

// stopReplies ends the consumer of direct replies, if there is one. What waits is dropped.
func (ch *channel) stopReplies() {
	r := ch.replies
	if r == nil {
		return
	}
	ch.replies = nil
	r.inbox.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.waiting {
		r.ch.c.waitingReplies.Add(-replySize(&r.waiting[i]))
	}
	r.stopped, r.waiting = true, nil
}

// has tells whether the consumer has the tag.
func (r *replies) has(tag string) bool { return r != nil && r.tag == tag }

// deliver takes a reply, in the goroutine of whoever sends it.
func (r *replies) deliver(m *core.Message) bool {
	size := replySize(m)
	r.mu.Lock()
	if total := r.ch.c.waitingReplies.Load(); r.stopped || total > 0 && total+size > maxReplies {
		r.mu.Unlock()
		return false
	}
	r.ch.c.waitingReplies.Add(size)
	r.waiting = append(r.waiting, core.Message{
		Format: m.Format, Key: bytes.Clone(m.Key), Properties: bytes.Clone(m.Properties),
		Payload: bytes.Clone(m.Payload), QoS: m.QoS,
	})
	r.mu.Unlock()
	r.ch.c.out.ready.add(r)
	return true
}

// replySize is what a reply counts for while it waits.
func replySize(m *core.Message) int64 { return int64(len(m.Key) + len(m.Properties) + len(m.Payload)) }

func (r *replies) announced() *atomic.Bool { return &r.queued }

// fill appends what waits.
func (r *replies) fill(buf []byte, limit int) (out []byte, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.waiting) && len(buf) < limit {
		m := &r.waiting[n]
		n++
		r.ch.c.waitingReplies.Add(-replySize(m))
		e := r.ch.c.envelope(m)
		r.ch.counts.sent(true, false)
		method := wire.BasicDeliver{ConsumerTag: r.tag, DeliveryTag: r.ch.track(nil, core.Position{}), RoutingKey: e.key}
		buf = method.Append(buf, r.ch.id)
		buf = wire.AppendContent(buf, r.ch.id, r.ch.c.limits.frameMax, e.properties, m.Payload)
	}
	clear(r.waiting[:n])
	if r.waiting = r.waiting[n:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return buf, len(r.waiting) > 0
}

// checkReplies is a declare of a requester's address: it is there as long as
// the requester is.
func (ch *channel) checkReplies(name string) (core.QueueStatus, error) {
	if name != replyToQueue && !ch.broker().HasInbox(ch.c.namespace, name) {
		return core.QueueStatus{}, refuse(codeNotFound, "no %s", object("queue", name, ch.c.namespace))
	}
	return core.QueueStatus{Name: name, Consumers: 1}, nil
}
