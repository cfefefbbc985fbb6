package wire

// ExchangeDeclare creates or checks an exchange.
type ExchangeDeclare struct {
	Exchange                                       string
	Type                                           string
	Passive, Durable, AutoDelete, Internal, NoWait bool
	Arguments                                      Table
}

// ID returns the number of exchange.declare.
func (*ExchangeDeclare) ID() MethodID { return IDExchangeDeclare }

func (m *ExchangeDeclare) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Exchange)
	dst = appendShortstr(dst, m.Type)
	dst = append(dst, bits(m.Passive, m.Durable, m.AutoDelete, m.Internal, m.NoWait))
	return appendLongstr(dst, m.Arguments)
}

func (m *ExchangeDeclare) parseArgs(d *decoder) {
	d.short()
	m.Exchange = d.shortstr()
	m.Type = d.shortstr()
	b := d.octet()
	m.Passive, m.Durable, m.AutoDelete, m.Internal, m.NoWait = b&1 != 0, b&2 != 0, b&4 != 0, b&8 != 0, b&16 != 0
	m.Arguments = d.table()
}

// ExchangeDeclareOK answers it.
type ExchangeDeclareOK struct{ empty }

// ID returns the number of exchange.declare-ok.
func (*ExchangeDeclareOK) ID() MethodID { return IDExchangeDeclareOK }

// ExchangeDelete deletes an exchange.
type ExchangeDelete struct {
	Exchange         string
	IfUnused, NoWait bool
}

// ID returns the number of exchange.delete.
func (*ExchangeDelete) ID() MethodID { return IDExchangeDelete }

func (m *ExchangeDelete) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Exchange)
	return append(dst, bits(m.IfUnused, m.NoWait))
}

func (m *ExchangeDelete) parseArgs(d *decoder) {
	d.short()
	m.Exchange = d.shortstr()
	b := d.octet()
	m.IfUnused, m.NoWait = b&1 != 0, b&2 != 0
}

// ExchangeDeleteOK answers it.
type ExchangeDeleteOK struct{ empty }

// ID returns the number of exchange.delete-ok.
func (*ExchangeDeleteOK) ID() MethodID { return IDExchangeDeleteOK }

// ExchangeBind binds an exchange to another.
type ExchangeBind struct {
	Destination string
	Source      string
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

// ID returns the number of exchange.bind.
func (*ExchangeBind) ID() MethodID { return IDExchangeBind }

func (m *ExchangeBind) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Destination)
	dst = appendShortstr(dst, m.Source)
	dst = appendShortstr(dst, m.RoutingKey)
	dst = append(dst, bits(m.NoWait))
	return appendLongstr(dst, m.Arguments)
}

func (m *ExchangeBind) parseArgs(d *decoder) {
	d.short()
	m.Destination = d.shortstr()
	m.Source = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.NoWait = d.octet()&1 != 0
	m.Arguments = d.table()
}

// ExchangeBindOK answers it.
type ExchangeBindOK struct{ empty }

// ID returns the number of exchange.bind-ok.
func (*ExchangeBindOK) ID() MethodID { return IDExchangeBindOK }

// ExchangeUnbind removes such a binding.
type ExchangeUnbind struct {
	Destination string
	Source      string
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

// ID returns the number of exchange.unbind.
func (*ExchangeUnbind) ID() MethodID { return IDExchangeUnbind }

func (m *ExchangeUnbind) appendArgs(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = appendShortstr(dst, m.Destination)
	dst = appendShortstr(dst, m.Source)
	dst = appendShortstr(dst, m.RoutingKey)
	dst = append(dst, bits(m.NoWait))
	return appendLongstr(dst, m.Arguments)
}

func (m *ExchangeUnbind) parseArgs(d *decoder) {
	d.short()
	m.Destination = d.shortstr()
	m.Source = d.shortstr()
	m.RoutingKey = d.shortstr()
	m.NoWait = d.octet()&1 != 0
	m.Arguments = d.table()
}

// ExchangeUnbindOK answers it.
type ExchangeUnbindOK struct{ empty }

// ID returns the number of exchange.unbind-ok.
func (*ExchangeUnbindOK) ID() MethodID { return IDExchangeUnbindOK }
