package amqp

import (
	"context"
	"errors"
	"strings"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// generatedPrefix begins the names that the server gives to queues.
const generatedPrefix = "amq.gen-"

// queueName returns the queue that a name means: an empty one is the queue
// that the channel declared last.
func (ch *channel) queueName(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if ch.lastQueue == "" {
		return "", refuse(codeNotFound, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

// lineEnds removes line ends. A replacer is made once: it takes kilobytes.
var lineEnds = strings.NewReplacer("\r", "", "\n", "")

// cleanName removes line ends, which names can't have.
func cleanName(name string) string { return lineEnds.Replace(name) }

func (ch *channel) queueDeclare(ctx context.Context, m *wire.QueueDeclare) error {
	m.Queue = cleanName(m.Queue)
	ch.c.awaitPublishes()
	var status core.QueueStatus
	var err error
	switch {
	case isReplyQueue(m.Queue):
		status, err = ch.checkReplies(m.Queue)
	case m.Passive:
		status, err = ch.checkQueue(m)
	default:
		status, err = ch.createQueue(ctx, m)
	}
	if err != nil {
		return err
	}
	ch.lastQueue = status.Name
	if !m.NoWait {
		ch.reply(&wire.QueueDeclareOK{
			Queue:         status.Name,
			MessageCount:  clampCount(status.Ready),
			ConsumerCount: clampCount(uint64(max(0, status.Consumers))),
		})
	}
	return nil
}

// checkQueue is the passive declare.
func (ch *channel) checkQueue(m *wire.QueueDeclare) (core.QueueStatus, error) {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return core.QueueStatus{}, err
	}
	if err := ch.c.permitAny("queue", name); err != nil {
		return core.QueueStatus{}, err
	}
	return ch.broker().CheckQueue(ch.c.namespace, name, ch.c.conn.ID)
}

func (ch *channel) createQueue(ctx context.Context, m *wire.QueueDeclare) (core.QueueStatus, error) {
	var none core.QueueStatus
	asked, err := plainTable(m.Arguments)
	if err != nil {
		return none, err
	}
	// The engine makes the name of a queue that has none and asks for no prefix;
	// permissions are asked for a name like it.
	permitted := m.Queue
	if permitted == "" {
		permitted = madeName(asked)
	}
	if err := ch.c.permit(gateway.Configure, "queue", permitted); err != nil {
		return none, err
	}
	if err := ch.c.permitDeadLetters(permitted, asked); err != nil {
		return none, err
	}
	spec := core.QueueSpec{
		Name:       m.Queue,
		Durable:    m.Durable,
		AutoDelete: m.AutoDelete,
		Exclusive:  m.Exclusive,
		Owner:      ch.c.conn.ID,
		Args:       asked,
	}
	ch.broker().GiveQueueType(ch.c.namespace, &spec)
	if err := checkQueueArguments(&spec, object("queue", m.Queue, ch.c.namespace)); err != nil {
		return none, err
	}
	if reserved(m.Queue) { // also of a queue that is there: only passive declares find it
		return none, refuse(codeAccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", m.Queue)
	}
	if _, given := spec.Args[argNamePrefix]; given && spec.Name == "" {
		spec.Name = permitted
		if reserved(spec.Name) && !strings.HasPrefix(spec.Name, generatedPrefix) {
			return none, refuse(codeAccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", spec.Name)
		}
	}
	return ch.broker().DeclareQueue(ctx, ch.c.namespace, spec)
}

// madeName makes the name of a queue that has none.
func madeName(args map[string]any) string {
	if text, ok := args[argNamePrefix].(string); ok {
		return randomName(cleanName(text) + "-")
	}
	return randomName(generatedPrefix)
}

func (ch *channel) queueDelete(ctx context.Context, m *wire.QueueDelete) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.c.permit(gateway.Configure, "queue", name); err != nil {
		return err
	}
	ch.c.awaitPublishes()
	n, err := ch.broker().DeleteQueue(ctx, ch.c.namespace, name, ch.c.conn.ID, m.IfUnused, m.IfEmpty)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.QueueDeleteOK{MessageCount: clampCount(n)})
	}
	return nil
}

func (ch *channel) queuePurge(ctx context.Context, m *wire.QueuePurge) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.c.permit(gateway.Read, "queue", name); err != nil {
		return err
	}
	ch.c.awaitPublishes()
	n, err := ch.broker().PurgeQueue(ctx, ch.c.namespace, name, ch.c.conn.ID)
	if errors.Is(err, core.ErrUnsupported) {
		return refuse(codeNotImplemented, "queue.purge not supported by stream queues %s",
			object("queue", name, ch.c.namespace))
	}
	if err != nil {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.QueuePurgeOK{MessageCount: clampCount(n)})
	}
	return nil
}

func (ch *channel) queueBind(ctx context.Context, m *wire.QueueBind) error {
	key := m.RoutingKey
	queue, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	if m.Queue == "" && key == "" {
		key = queue
	}
	spec, err := ch.queueBinding(queue, m.Exchange, key, m.Arguments)
	if err != nil {
		return err
	}
	if err := ch.broker().Bind(ctx, ch.c.namespace, spec); err != nil {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.QueueBindOK{})
	}
	return nil
}

func (ch *channel) queueUnbind(ctx context.Context, m *wire.QueueUnbind) error {
	queue, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	spec, err := ch.queueBinding(queue, m.Exchange, m.RoutingKey, m.Arguments)
	if err != nil {
		return err
	}
	if err := ch.broker().Unbind(ctx, ch.c.namespace, spec); err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	ch.reply(&wire.QueueUnbindOK{})
	return nil
}

// queueBinding checks that a binding may be changed, and describes it.
func (ch *channel) queueBinding(queue, exchange, key string, t wire.Table) (core.BindingSpec, error) {
	var none core.BindingSpec
	if isReplyQueue(queue) {
		return none, refuse(codeAccessRefused, "cannot bind or unbind to a volatile (direct reply-to) queue")
	}
	if exchange == "" {
		return none, refuse(codeAccessRefused, "operation not permitted on the default exchange")
	}
	if err := ch.c.permit(gateway.Write, "queue", queue); err != nil {
		return none, err
	}
	if err := ch.c.permit(gateway.Read, "exchange", exchange); err != nil {
		return none, err
	}
	if err := ch.permitBinding(exchange, key); err != nil {
		return none, err
	}
	args, err := plainTable(t)
	if err != nil {
		return none, err
	}
	return core.BindingSpec{Source: exchange, Dest: queue, Key: key, Args: args, Owner: ch.c.conn.ID}, nil
}
