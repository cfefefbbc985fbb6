package wire

import "encoding/binary"

// BasicQos sets prefetch limits.
type BasicQos struct {
	PrefetchSize  uint32
	PrefetchCount uint16
	Global        bool
}

// ID returns the number of basic.qos.
func (*BasicQos) ID() MethodID { return IDBasicQos }

func (m *BasicQos) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.PrefetchSize)
	dst = binary.BigEndian.AppendUint16(dst, m.PrefetchCount)
	return append(dst, bits(m.Global))
}

func (m *BasicQos) parseArgs(d *decoder) {
	m.PrefetchSize = d.long()
	m.PrefetchCount = d.short()
	m.Global = d.octet()&1 != 0
}

// BasicQosOK answers it.
type BasicQosOK struct{ empty }

// ID returns the number of basic.qos-ok.
func (*BasicQosOK) ID() MethodID { return IDBasicQosOK }

// BasicConsume starts a consumer.
type BasicConsume struct {
	Queue                             string
	ConsumerTag                       string
	NoLocal, NoAck, Exclusive, NoWait bool
	Arguments                         Table
}

// ID returns the number of basic.consume.
func (*BasicConsume) ID() MethodID { return IDBasicConsume }

func (m *BasicConsume) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	dst = appendShortstr(dst, m.ConsumerTag)
	dst = append(dst, bits(m.NoLocal, m.NoAck, m.Exclusive, m.NoWait))
	return appendLongstr(dst, m.Arguments)
}

func (m *BasicConsume) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.ConsumerTag = d.shortstr()
	b := d.octet()
	m.NoLocal, m.NoAck, m.Exclusive, m.NoWait = b&1 != 0, b&2 != 0, b&4 != 0, b&8 != 0
	m.Arguments = d.table()
}

// BasicConsumeOK answers with the consumer's tag.
type BasicConsumeOK struct {
	ConsumerTag string
}

// ID returns the number of basic.consume-ok.
func (*BasicConsumeOK) ID() MethodID { return IDBasicConsumeOK }

func (m *BasicConsumeOK) appendArgs(dst []byte) []byte {
	return appendShortstr(dst, m.ConsumerTag)
}

func (m *BasicConsumeOK) parseArgs(d *decoder) {
	m.ConsumerTag = d.shortstr()
}

// BasicCancel ends a consumer, on either side's wish.
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

// ID returns the number of basic.cancel.
func (*BasicCancel) ID() MethodID { return IDBasicCancel }

func (m *BasicCancel) appendArgs(dst []byte) []byte {
	dst = appendShortstr(dst, m.ConsumerTag)
	return append(dst, bits(m.NoWait))
}

func (m *BasicCancel) parseArgs(d *decoder) {
	m.ConsumerTag = d.shortstr()
	m.NoWait = d.octet()&1 != 0
}

// BasicCancelOK answers it.
type BasicCancelOK struct {
	ConsumerTag string
}

// ID returns the number of basic.cancel-ok.
func (*BasicCancelOK) ID() MethodID { return IDBasicCancelOK }

func (m *BasicCancelOK) appendArgs(dst []byte) []byte {
	return appendShortstr(dst, m.ConsumerTag)
}

func (m *BasicCancelOK) parseArgs(d *decoder) {
	m.ConsumerTag = d.shortstr()
}

// BasicReturn gives an unroutable message back; the content follows.
type BasicReturn struct {
	ReplyCode  uint16
	ReplyText  string
	Exchange   string
	RoutingKey string
}

// ID returns the number of basic.return.
func (*BasicReturn) ID() MethodID { return IDBasicReturn }

func (m *BasicReturn) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.ReplyCode)
	dst = appendShortstr(dst, m.ReplyText)
	dst = appendShortstr(dst, m.Exchange)
	return appendShortstr(dst, m.RoutingKey)
}

func (m *BasicReturn) parseArgs(d *decoder) {
	m.ReplyCode = d.short()
	m.ReplyText = d.shortstr()
	m.Exchange = d.shortstr()
	m.RoutingKey = d.shortstr()
}

// BasicGet asks for one message.
type BasicGet struct {
	Queue string
	NoAck bool
}

// ID returns the number of basic.get.
func (*BasicGet) ID() MethodID { return IDBasicGet }

func (m *BasicGet) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Queue)
	return append(dst, bits(m.NoAck))
}

func (m *BasicGet) parseArgs(d *decoder) {
	d.short()
	m.Queue = d.shortstr()
	m.NoAck = d.octet()&1 != 0
}

// BasicGetEmpty tells that there is none.
type BasicGetEmpty struct{}

// ID returns the number of basic.get-empty.
func (*BasicGetEmpty) ID() MethodID { return IDBasicGetEmpty }

func (*BasicGetEmpty) appendArgs(dst []byte) []byte {
	return append(dst, 0)
}

func (*BasicGetEmpty) parseArgs(d *decoder) {
	d.shortbytes()
}

// BasicAck confirms deliveries, or publishes.
type BasicAck struct {
	DeliveryTag uint64
	Multiple    bool
}

// ID returns the number of basic.ack.
func (*BasicAck) ID() MethodID { return IDBasicAck }

func (m *BasicAck) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.DeliveryTag)
	return append(dst, bits(m.Multiple))
}

func (m *BasicAck) parseArgs(d *decoder) {
	m.DeliveryTag = d.longlong()
	m.Multiple = d.octet()&1 != 0
}

// BasicReject refuses a delivery.
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool
}

// ID returns the number of basic.reject.
func (*BasicReject) ID() MethodID { return IDBasicReject }

func (m *BasicReject) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.DeliveryTag)
	return append(dst, bits(m.Requeue))
}

func (m *BasicReject) parseArgs(d *decoder) {
	m.DeliveryTag = d.longlong()
	m.Requeue = d.octet()&1 != 0
}

// BasicRecoverAsync asks for all unacknowledged messages again, without an answer.
type BasicRecoverAsync struct {
	Requeue bool
}

// ID returns the number of basic.recover-async.
func (*BasicRecoverAsync) ID() MethodID { return IDBasicRecoverAsync }

func (m *BasicRecoverAsync) appendArgs(dst []byte) []byte {
	return append(dst, bits(m.Requeue))
}

func (m *BasicRecoverAsync) parseArgs(d *decoder) {
	m.Requeue = d.octet()&1 != 0
}

// BasicRecover asks for all unacknowledged messages again.
type BasicRecover struct {
	Requeue bool
}

// ID returns the number of basic.recover.
func (*BasicRecover) ID() MethodID { return IDBasicRecover }

func (m *BasicRecover) appendArgs(dst []byte) []byte {
	return append(dst, bits(m.Requeue))
}

func (m *BasicRecover) parseArgs(d *decoder) {
	m.Requeue = d.octet()&1 != 0
}

// BasicRecoverOK answers it.
type BasicRecoverOK struct{ empty }

// ID returns the number of basic.recover-ok.
func (*BasicRecoverOK) ID() MethodID { return IDBasicRecoverOK }

// BasicNack refuses deliveries, or publishes.
type BasicNack struct {
	DeliveryTag       uint64
	Multiple, Requeue bool
}

// ID returns the number of basic.nack.
func (*BasicNack) ID() MethodID { return IDBasicNack }

func (m *BasicNack) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.DeliveryTag)
	return append(dst, bits(m.Multiple, m.Requeue))
}

func (m *BasicNack) parseArgs(d *decoder) {
	m.DeliveryTag = d.longlong()
	b := d.octet()
	m.Multiple, m.Requeue = b&1 != 0, b&2 != 0
}

// ConfirmSelect makes the server confirm publishes.
type ConfirmSelect struct {
	NoWait bool
}

// ID returns the number of confirm.select.
func (*ConfirmSelect) ID() MethodID { return IDConfirmSelect }

func (m *ConfirmSelect) appendArgs(dst []byte) []byte {
	return append(dst, bits(m.NoWait))
}

func (m *ConfirmSelect) parseArgs(d *decoder) {
	m.NoWait = d.octet()&1 != 0
}

// ConfirmSelectOK answers it.
type ConfirmSelectOK struct{ empty }

// ID returns the number of confirm.select-ok.
func (*ConfirmSelectOK) ID() MethodID { return IDConfirmSelectOK }

// TxSelect makes the channel transactional.
type TxSelect struct{ empty }

// ID returns the number of tx.select.
func (*TxSelect) ID() MethodID { return IDTxSelect }

// TxSelectOK answers it.
type TxSelectOK struct{ empty }

// ID returns the number of tx.select-ok.
func (*TxSelectOK) ID() MethodID { return IDTxSelectOK }

// TxCommit commits the transaction.
type TxCommit struct{ empty }

// ID returns the number of tx.commit.
func (*TxCommit) ID() MethodID { return IDTxCommit }

// TxCommitOK answers it.
type TxCommitOK struct{ empty }

// ID returns the number of tx.commit-ok.
func (*TxCommitOK) ID() MethodID { return IDTxCommitOK }

// TxRollback drops the transaction.
type TxRollback struct{ empty }

// ID returns the number of tx.rollback.
func (*TxRollback) ID() MethodID { return IDTxRollback }

// TxRollbackOK answers it.
type TxRollbackOK struct{ empty }

// ID returns the number of tx.rollback-ok.
func (*TxRollbackOK) ID() MethodID { return IDTxRollbackOK }
