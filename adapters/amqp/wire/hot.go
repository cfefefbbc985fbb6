package wire

import "encoding/binary"

// The methods that travel with every message keep their strings in place, so
// that neither parsing nor building them allocates.

// BasicPublish publishes a message; the content follows.
type BasicPublish struct {
	Exchange, RoutingKey []byte
	Mandatory, Immediate bool
}

// Parse reads the arguments, in place.
func (m *BasicPublish) Parse(args []byte) error {
	d := decoder{b: args}
	m.parseArgs(&d)
	return d.end()
}

// ID returns the number of basic.publish.
func (*BasicPublish) ID() MethodID { return IDBasicPublish }

func (m *BasicPublish) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	return append(dst, bits(m.Mandatory, m.Immediate))
}

func (m *BasicPublish) parseArgs(d *decoder) {
	d.short()
	m.Exchange = d.name()
	m.RoutingKey = d.name()
	b := d.octet()
	m.Mandatory, m.Immediate = b&1 != 0, b&2 != 0
}

// BasicDeliver brings a message to a consumer; the content follows.
type BasicDeliver struct {
	ConsumerTag          string
	DeliveryTag          uint64
	Redelivered          bool
	Exchange, RoutingKey []byte
}

// ID returns the number of basic.deliver.
func (*BasicDeliver) ID() MethodID { return IDBasicDeliver }

// Append appends the method's frame without allocating.
func (m *BasicDeliver) Append(dst []byte, channel uint16) []byte {
	dst, start := openFrame(dst, FrameMethod, channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(IDBasicDeliver))
	return closeFrame(m.appendArgs(dst), start)
}

func (m *BasicDeliver) appendArgs(dst []byte) []byte {
	dst = appendShortstr(dst, m.ConsumerTag)
	dst = binary.BigEndian.AppendUint64(dst, m.DeliveryTag)
	dst = append(dst, bits(m.Redelivered))
	dst = appendShortstr(dst, m.Exchange)
	return appendShortstr(dst, m.RoutingKey)
}

func (m *BasicDeliver) parseArgs(d *decoder) {
	m.ConsumerTag = d.shortstr()
	m.DeliveryTag = d.longlong()
	m.Redelivered = d.octet()&1 != 0
	m.Exchange = d.name()
	m.RoutingKey = d.name()
}

// BasicGetOK answers basic.get; the content follows.
type BasicGetOK struct {
	DeliveryTag          uint64
	Redelivered          bool
	Exchange, RoutingKey []byte
	MessageCount         uint32
}

// ID returns the number of basic.get-ok.
func (*BasicGetOK) ID() MethodID { return IDBasicGetOK }

func (m *BasicGetOK) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.DeliveryTag)
	dst = append(dst, bits(m.Redelivered))
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.RoutingKey)
	return binary.BigEndian.AppendUint32(dst, m.MessageCount)
}

func (m *BasicGetOK) parseArgs(d *decoder) {
	m.DeliveryTag = d.longlong()
	m.Redelivered = d.octet()&1 != 0
	m.Exchange = d.name()
	m.RoutingKey = d.name()
	m.MessageCount = d.long()
}

// Settlement is what basic.ack, basic.nack and basic.reject say: the tag, and
// whether all lower ones are meant, and whether to deliver again.
type Settlement struct {
	Tag      uint64
	Multiple bool
	Requeue  bool
}

// ParseSettlement reads the arguments of basic.ack, basic.nack or
// basic.reject, whichever id names, without allocating.
func ParseSettlement(id MethodID, args []byte) (Settlement, error) {
	d := decoder{b: args}
	s := Settlement{Tag: d.longlong()}
	b := d.octet()
	switch id {
	case IDBasicReject:
		s.Requeue = b&1 != 0
	case IDBasicNack:
		s.Multiple, s.Requeue = b&1 != 0, b&2 != 0
	default:
		s.Multiple = b&1 != 0
	}
	return s, d.end()
}

// AppendConfirm appends basic.ack of a publish, or basic.nack when refused. The bit for
// requeue says nothing there; RabbitMQ sets it.
func AppendConfirm(dst []byte, channel uint16, tag uint64, multiple, refused bool) []byte {
	id := IDBasicAck
	if refused {
		id = IDBasicNack
	}
	dst = appendFrameHeader(dst, FrameMethod, channel, 4+8+1)
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	dst = binary.BigEndian.AppendUint64(dst, tag)
	return append(dst, bits(multiple, refused), frameEnd)
}
