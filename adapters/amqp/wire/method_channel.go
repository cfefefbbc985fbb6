package wire

import "encoding/binary"

// ChannelOpen opens a channel.
type ChannelOpen struct{}

// ID returns the number of channel.open.
func (*ChannelOpen) ID() MethodID { return IDChannelOpen }

func (*ChannelOpen) appendArgs(dst []byte) []byte {
	return append(dst, 0)
}

func (*ChannelOpen) parseArgs(d *decoder) {
	d.shortbytes()
}

// ChannelOpenOK answers it.
type ChannelOpenOK struct{}

// ID returns the number of channel.open-ok.
func (*ChannelOpenOK) ID() MethodID { return IDChannelOpenOK }

func (*ChannelOpenOK) appendArgs(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0)
}

func (*ChannelOpenOK) parseArgs(d *decoder) {
	d.longstr()
}

// ChannelFlow asks to stop or resume deliveries.
type ChannelFlow struct {
	Active bool
}

// ID returns the number of channel.flow.
func (*ChannelFlow) ID() MethodID { return IDChannelFlow }

func (m *ChannelFlow) appendArgs(dst []byte) []byte {
	return append(dst, bits(m.Active))
}

func (m *ChannelFlow) parseArgs(d *decoder) {
	m.Active = d.octet()&1 != 0
}

// ChannelFlowOK answers it.
type ChannelFlowOK struct {
	Active bool
}

// ID returns the number of channel.flow-ok.
func (*ChannelFlowOK) ID() MethodID { return IDChannelFlowOK }

func (m *ChannelFlowOK) appendArgs(dst []byte) []byte {
	return append(dst, bits(m.Active))
}

func (m *ChannelFlowOK) parseArgs(d *decoder) {
	m.Active = d.octet()&1 != 0
}

// ChannelClose ends a channel; FailingMethod is 0 when none failed.
type ChannelClose struct {
	ReplyCode     uint16
	ReplyText     string
	FailingMethod MethodID
}

// ID returns the number of channel.close.
func (*ChannelClose) ID() MethodID { return IDChannelClose }

func (m *ChannelClose) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.ReplyCode)
	dst = appendShortstr(dst, m.ReplyText)
	return binary.BigEndian.AppendUint32(dst, uint32(m.FailingMethod))
}

func (m *ChannelClose) parseArgs(d *decoder) {
	m.ReplyCode = d.short()
	m.ReplyText = d.shortstr()
	m.FailingMethod = MethodID(d.long())
}

// ChannelCloseOK ends it for good.
type ChannelCloseOK struct{ empty }

// ID returns the number of channel.close-ok.
func (*ChannelCloseOK) ID() MethodID { return IDChannelCloseOK }

// AccessRequest asks for a ticket, of which nothing depends.
type AccessRequest struct {
	Realm                                   string
	Exclusive, Passive, Active, Write, Read bool
}

// ID returns the number of access.request.
func (*AccessRequest) ID() MethodID { return IDAccessRequest }

func (m *AccessRequest) appendArgs(dst []byte) []byte {
	dst = appendShortstr(dst, m.Realm)
	return append(dst, bits(m.Exclusive, m.Passive, m.Active, m.Write, m.Read))
}

func (m *AccessRequest) parseArgs(d *decoder) {
	m.Realm = d.shortstr()
	b := d.octet()
	m.Exclusive, m.Passive, m.Active, m.Write, m.Read = b&1 != 0, b&2 != 0, b&4 != 0, b&8 != 0, b&16 != 0
}

// AccessRequestOK gives a ticket.
type AccessRequestOK struct {
	Ticket uint16
}

// ID returns the number of access.request-ok.
func (*AccessRequestOK) ID() MethodID { return IDAccessRequestOK }

func (m *AccessRequestOK) appendArgs(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(dst, m.Ticket)
}

func (m *AccessRequestOK) parseArgs(d *decoder) {
	m.Ticket = d.short()
}
