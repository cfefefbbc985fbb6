package wire

import "encoding/binary"

// ConnectionStart is the server's first method.
type ConnectionStart struct {
	Major            uint8
	Minor            uint8
	ServerProperties Table
	Mechanisms       []byte
	Locales          []byte
}

// ID returns the number of connection.start.
func (*ConnectionStart) ID() MethodID { return IDConnectionStart }

func (m *ConnectionStart) appendArgs(dst []byte) []byte {
	dst = append(dst, m.Major)
	dst = append(dst, m.Minor)
	dst = appendLongstr(dst, m.ServerProperties)
	dst = appendLongstr(dst, m.Mechanisms)
	return appendLongstr(dst, m.Locales)
}

func (m *ConnectionStart) parseArgs(d *decoder) {
	m.Major = d.octet()
	m.Minor = d.octet()
	m.ServerProperties = d.table()
	m.Mechanisms = d.longstr()
	m.Locales = d.longstr()
}

// ConnectionStartOK answers with the client's login.
type ConnectionStartOK struct {
	ClientProperties Table
	Mechanism        string
	Response         []byte
	Locale           string
}

// ID returns the number of connection.start-ok.
func (*ConnectionStartOK) ID() MethodID { return IDConnectionStartOK }

func (m *ConnectionStartOK) appendArgs(dst []byte) []byte {
	dst = appendLongstr(dst, m.ClientProperties)
	dst = appendShortstr(dst, m.Mechanism)
	dst = appendLongstr(dst, m.Response)
	return appendShortstr(dst, m.Locale)
}

func (m *ConnectionStartOK) parseArgs(d *decoder) {
	m.ClientProperties = d.table()
	m.Mechanism = d.shortstr()
	m.Response = d.longstr()
	m.Locale = d.shortstr()
}

// ConnectionSecure is a challenge of a login mechanism.
type ConnectionSecure struct {
	Challenge []byte
}

// ID returns the number of connection.secure.
func (*ConnectionSecure) ID() MethodID { return IDConnectionSecure }

func (m *ConnectionSecure) appendArgs(dst []byte) []byte {
	return appendLongstr(dst, m.Challenge)
}

func (m *ConnectionSecure) parseArgs(d *decoder) {
	m.Challenge = d.longstr()
}

// ConnectionSecureOK answers a challenge.
type ConnectionSecureOK struct {
	Response []byte
}

// ID returns the number of connection.secure-ok.
func (*ConnectionSecureOK) ID() MethodID { return IDConnectionSecureOK }

func (m *ConnectionSecureOK) appendArgs(dst []byte) []byte {
	return appendLongstr(dst, m.Response)
}

func (m *ConnectionSecureOK) parseArgs(d *decoder) {
	m.Response = d.longstr()
}

// ConnectionTune proposes limits: FrameMax in bytes, Heartbeat in seconds.
type ConnectionTune struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID returns the number of connection.tune.
func (*ConnectionTune) ID() MethodID { return IDConnectionTune }

func (m *ConnectionTune) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.ChannelMax)
	dst = binary.BigEndian.AppendUint32(dst, m.FrameMax)
	return binary.BigEndian.AppendUint16(dst, m.Heartbeat)
}

func (m *ConnectionTune) parseArgs(d *decoder) {
	m.ChannelMax = d.short()
	m.FrameMax = d.long()
	m.Heartbeat = d.short()
}

// ConnectionTuneOK settles the limits; 0 means none.
type ConnectionTuneOK struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID returns the number of connection.tune-ok.
func (*ConnectionTuneOK) ID() MethodID { return IDConnectionTuneOK }

func (m *ConnectionTuneOK) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.ChannelMax)
	dst = binary.BigEndian.AppendUint32(dst, m.FrameMax)
	return binary.BigEndian.AppendUint16(dst, m.Heartbeat)
}

func (m *ConnectionTuneOK) parseArgs(d *decoder) {
	m.ChannelMax = d.short()
	m.FrameMax = d.long()
	m.Heartbeat = d.short()
}

// ConnectionOpen enters a virtual host.
type ConnectionOpen struct {
	VirtualHost string
}

// ID returns the number of connection.open.
func (*ConnectionOpen) ID() MethodID { return IDConnectionOpen }

func (m *ConnectionOpen) appendArgs(dst []byte) []byte {
	dst = appendShortstr(dst, m.VirtualHost)
	dst = append(dst, 0)
	return append(dst, 0)
}

func (m *ConnectionOpen) parseArgs(d *decoder) {
	m.VirtualHost = d.shortstr()
	d.shortbytes()
	d.octet()
}

// ConnectionOpenOK lets the client in.
type ConnectionOpenOK struct{}

// ID returns the number of connection.open-ok.
func (*ConnectionOpenOK) ID() MethodID { return IDConnectionOpenOK }

func (*ConnectionOpenOK) appendArgs(dst []byte) []byte {
	return append(dst, 0)
}

func (*ConnectionOpenOK) parseArgs(d *decoder) {
	d.shortbytes()
}

// ConnectionClose ends the connection; FailingMethod is 0 when none failed.
type ConnectionClose struct {
	ReplyCode     uint16
	ReplyText     string
	FailingMethod MethodID
}

// ID returns the number of connection.close.
func (*ConnectionClose) ID() MethodID { return IDConnectionClose }

func (m *ConnectionClose) appendArgs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.ReplyCode)
	dst = appendShortstr(dst, m.ReplyText)
	return binary.BigEndian.AppendUint32(dst, uint32(m.FailingMethod))
}

func (m *ConnectionClose) parseArgs(d *decoder) {
	m.ReplyCode = d.short()
	m.ReplyText = d.shortstr()
	m.FailingMethod = MethodID(d.long())
}

// ConnectionCloseOK ends it for good.
type ConnectionCloseOK struct{ empty }

// ID returns the number of connection.close-ok.
func (*ConnectionCloseOK) ID() MethodID { return IDConnectionCloseOK }

// ConnectionBlocked tells that the server stopped reading publishes.
type ConnectionBlocked struct {
	Reason string
}

// ID returns the number of connection.blocked.
func (*ConnectionBlocked) ID() MethodID { return IDConnectionBlocked }

func (m *ConnectionBlocked) appendArgs(dst []byte) []byte {
	return appendShortstr(dst, m.Reason)
}

func (m *ConnectionBlocked) parseArgs(d *decoder) {
	m.Reason = d.shortstr()
}

// ConnectionUnblocked tells that it reads them again.
type ConnectionUnblocked struct{ empty }

// ID returns the number of connection.unblocked.
func (*ConnectionUnblocked) ID() MethodID { return IDConnectionUnblocked }

// ConnectionUpdateSecret brings a new password.
type ConnectionUpdateSecret struct {
	Secret []byte
	Reason string
}

// ID returns the number of connection.update-secret.
func (*ConnectionUpdateSecret) ID() MethodID { return IDConnectionUpdateSecret }

func (m *ConnectionUpdateSecret) appendArgs(dst []byte) []byte {
	dst = appendLongstr(dst, m.Secret)
	return appendShortstr(dst, m.Reason)
}

func (m *ConnectionUpdateSecret) parseArgs(d *decoder) {
	m.Secret = d.longstr()
	m.Reason = d.shortstr()
}

// ConnectionUpdateSecretOK takes it.
type ConnectionUpdateSecretOK struct{ empty }

// ID returns the number of connection.update-secret-ok.
func (*ConnectionUpdateSecretOK) ID() MethodID { return IDConnectionUpdateSecretOK }
