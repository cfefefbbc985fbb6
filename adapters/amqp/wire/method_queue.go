package wire

import "encoding/binary"

// QueueDeclare creates or checks a queue.
type QueueDeclare struct {
	Queue                                           string
	Passive, Durable, Exclusive, AutoDelete, NoWait bool
	Arguments                                       Table
}

// ID returns the number of queue.declare.
func (*QueueDeclare) ID() MethodID { return IDQueueDeclare }

func (m *QueueDeclare) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = append(dst, bits(m.Passive, m.Durable, m.Exclusive, m.AutoDelete, m.NoWait))
	return appendLongstr(dst, m.Arguments)
}

func (m *QueueDeclare) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	b := d.octet()
	m.Passive, m.Durable, m.Exclusive, m.AutoDelete, m.NoWait = b&1 != 0, b&2 != 0, b&4 != 0, b&8 != 0, b&16 != 0
	m.Arguments = d.table()
}

// QueueDeclareOK answers it.
type QueueDeclareOK struct {
	Queue         string
	MessageCount  uint32
	ConsumerCount uint32
}

// ID returns the number of queue.declare-ok.
func (*QueueDeclareOK) ID() MethodID { return IDQueueDeclareOK }

func (m *QueueDeclareOK) appendArgs(dst []byte) []byte {
	dst = appendShortstr(dst, m.Queue)
	dst = binary.BigEndian.AppendUint32(dst, m.MessageCount)
	return binary.BigEndian.AppendUint32(dst, m.ConsumerCount)
}

func (m *QueueDeclareOK) parseArgs(d *decoder) {
	m.Queue = d.shortstr()
	m.MessageCount = d.long()
	m.ConsumerCount = d.long()
}

// QueueBind binds a queue to an exchange.
type QueueBind struct {
	Queue      string
	Exchange   string
	RoutingKey string
	NoWait     bool
	Arguments  Table
}

// ID returns the number of queue.bind.
func (*QueueBind) ID() MethodID { return IDQueueBind }

func (m *QueueBind) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	dst = append(dst, bits(m.NoWait))
	return appendLongstr(dst, m.Arguments)
}

func (m *QueueBind) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.NoWait = d.octet()&1 != 0
	m.Arguments = d.table()
}

// QueueBindOK answers it.
type QueueBindOK struct{ empty }

// ID returns the number of queue.bind-ok.
func (*QueueBindOK) ID() MethodID { return IDQueueBindOK }

// QueuePurge removes the ready messages.
type QueuePurge struct {
	Queue  string
	NoWait bool
}

// ID returns the number of queue.purge.
func (*QueuePurge) ID() MethodID { return IDQueuePurge }

func (m *QueuePurge) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	return append(dst, bits(m.NoWait))
}

func (m *QueuePurge) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.NoWait = d.octet()&1 != 0
}

// QueuePurgeOK tells how many there were.
type QueuePurgeOK struct {
	MessageCount uint32
}

// ID returns the number of queue.purge-ok.
func (*QueuePurgeOK) ID() MethodID { return IDQueuePurgeOK }

func (m *QueuePurgeOK) appendArgs(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, m.MessageCount)
}

func (m *QueuePurgeOK) parseArgs(d *decoder) {
	m.MessageCount = d.long()
}

// QueueDelete deletes a queue.
type QueueDelete struct {
	Queue                     string
	IfUnused, IfEmpty, NoWait bool
}

// ID returns the number of queue.delete.
func (*QueueDelete) ID() MethodID { return IDQueueDelete }

func (m *QueueDelete) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	return append(dst, bits(m.IfUnused, m.IfEmpty, m.NoWait))
}

func (m *QueueDelete) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	b := d.octet()
	m.IfUnused, m.IfEmpty, m.NoWait = b&1 != 0, b&2 != 0, b&4 != 0
}

// QueueDeleteOK tells how many messages were ready.
type QueueDeleteOK struct {
	MessageCount uint32
}

// ID returns the number of queue.delete-ok.
func (*QueueDeleteOK) ID() MethodID { return IDQueueDeleteOK }

func (m *QueueDeleteOK) appendArgs(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, m.MessageCount)
}

func (m *QueueDeleteOK) parseArgs(d *decoder) {
	m.MessageCount = d.long()
}

// QueueUnbind removes a binding.
type QueueUnbind struct {
	Queue      string
	Exchange   string
	RoutingKey string
	Arguments  Table
}

// ID returns the number of queue.unbind.
func (*QueueUnbind) ID() MethodID { return IDQueueUnbind }

func (m *QueueUnbind) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	return appendLongstr(dst, m.Arguments)
}

func (m *QueueUnbind) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.Arguments = d.table()
}

// QueueUnbindOK answers it.
type QueueUnbindOK struct{ empty }

// ID returns the number of queue.unbind-ok.
func (*QueueUnbindOK) ID() MethodID { return IDQueueUnbindOK }
