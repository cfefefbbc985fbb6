package wire

import (
	"encoding/binary"
	"fmt"
)

// MethodID is the number of a method: its class, then its place in the class.
type MethodID uint32

// Class is the number of the method's class.
func (id MethodID) Class() uint16 { return uint16(id >> 16) }

// Method is the method's number within its class.
func (id MethodID) Method() uint16 { return uint16(id) }

// String returns the method's name as the standard writes it.
func (id MethodID) String() string {
	if e, ok := methods[id]; ok {
		return e.name
	}
	return fmt.Sprintf("method %d,%d", id.Class(), id.Method())
}

// Method is a method with its arguments. Strings are copies; tables and long
// strings lie in the frame that the method was parsed from.
type Method interface {
	ID() MethodID
	appendArgs(dst []byte) []byte
	parseArgs(d *decoder)
}

const (
	classConnection = 10
	classChannel    = 20
	classAccess     = 30
	classExchange   = 40
	classQueue      = 50
	classBasic      = 60
	classConfirm    = 85
	classTx         = 90
)

// The methods of AMQP 0-9-1 with RabbitMQ's extensions.
const (
	IDConnectionStart          MethodID = classConnection<<16 | 10
	IDConnectionStartOK        MethodID = classConnection<<16 | 11
	IDConnectionSecure         MethodID = classConnection<<16 | 20
	IDConnectionSecureOK       MethodID = classConnection<<16 | 21
	IDConnectionTune           MethodID = classConnection<<16 | 30
	IDConnectionTuneOK         MethodID = classConnection<<16 | 31
	IDConnectionOpen           MethodID = classConnection<<16 | 40
	IDConnectionOpenOK         MethodID = classConnection<<16 | 41
	IDConnectionClose          MethodID = classConnection<<16 | 50
	IDConnectionCloseOK        MethodID = classConnection<<16 | 51
	IDConnectionBlocked        MethodID = classConnection<<16 | 60
	IDConnectionUnblocked      MethodID = classConnection<<16 | 61
	IDConnectionUpdateSecret   MethodID = classConnection<<16 | 70
	IDConnectionUpdateSecretOK MethodID = classConnection<<16 | 71

	IDChannelOpen    MethodID = classChannel<<16 | 10
	IDChannelOpenOK  MethodID = classChannel<<16 | 11
	IDChannelFlow    MethodID = classChannel<<16 | 20
	IDChannelFlowOK  MethodID = classChannel<<16 | 21
	IDChannelClose   MethodID = classChannel<<16 | 40
	IDChannelCloseOK MethodID = classChannel<<16 | 41

	IDAccessRequest   MethodID = classAccess<<16 | 10
	IDAccessRequestOK MethodID = classAccess<<16 | 11

	IDExchangeDeclare   MethodID = classExchange<<16 | 10
	IDExchangeDeclareOK MethodID = classExchange<<16 | 11
	IDExchangeDelete    MethodID = classExchange<<16 | 20
	IDExchangeDeleteOK  MethodID = classExchange<<16 | 21
	IDExchangeBind      MethodID = classExchange<<16 | 30
	IDExchangeBindOK    MethodID = classExchange<<16 | 31
	IDExchangeUnbind    MethodID = classExchange<<16 | 40
	IDExchangeUnbindOK  MethodID = classExchange<<16 | 51

	IDQueueDeclare   MethodID = classQueue<<16 | 10
	IDQueueDeclareOK MethodID = classQueue<<16 | 11
	IDQueueBind      MethodID = classQueue<<16 | 20
	IDQueueBindOK    MethodID = classQueue<<16 | 21
	IDQueuePurge     MethodID = classQueue<<16 | 30
	IDQueuePurgeOK   MethodID = classQueue<<16 | 31
	IDQueueDelete    MethodID = classQueue<<16 | 40
	IDQueueDeleteOK  MethodID = classQueue<<16 | 41
	IDQueueUnbind    MethodID = classQueue<<16 | 50
	IDQueueUnbindOK  MethodID = classQueue<<16 | 51

	IDBasicQos          MethodID = classBasic<<16 | 10
	IDBasicQosOK        MethodID = classBasic<<16 | 11
	IDBasicConsume      MethodID = classBasic<<16 | 20
	IDBasicConsumeOK    MethodID = classBasic<<16 | 21
	IDBasicCancel       MethodID = classBasic<<16 | 30
	IDBasicCancelOK     MethodID = classBasic<<16 | 31
	IDBasicPublish      MethodID = classBasic<<16 | 40
	IDBasicReturn       MethodID = classBasic<<16 | 50
	IDBasicDeliver      MethodID = classBasic<<16 | 60
	IDBasicGet          MethodID = classBasic<<16 | 70
	IDBasicGetOK        MethodID = classBasic<<16 | 71
	IDBasicGetEmpty     MethodID = classBasic<<16 | 72
	IDBasicAck          MethodID = classBasic<<16 | 80
	IDBasicReject       MethodID = classBasic<<16 | 90
	IDBasicRecoverAsync MethodID = classBasic<<16 | 100
	IDBasicRecover      MethodID = classBasic<<16 | 110
	IDBasicRecoverOK    MethodID = classBasic<<16 | 111
	IDBasicNack         MethodID = classBasic<<16 | 120

	IDConfirmSelect   MethodID = classConfirm<<16 | 10
	IDConfirmSelectOK MethodID = classConfirm<<16 | 11

	IDTxSelect     MethodID = classTx<<16 | 10
	IDTxSelectOK   MethodID = classTx<<16 | 11
	IDTxCommit     MethodID = classTx<<16 | 20
	IDTxCommitOK   MethodID = classTx<<16 | 21
	IDTxRollback   MethodID = classTx<<16 | 30
	IDTxRollbackOK MethodID = classTx<<16 | 31
)

// SplitMethod takes the method's number off the payload of a method frame.
func SplitMethod(payload []byte) (MethodID, []byte, error) {
	if len(payload) < 4 {
		return 0, nil, fmt.Errorf("%w: method frame of %d bytes", ErrSyntax, len(payload))
	}
	return MethodID(binary.BigEndian.Uint32(payload)), payload[4:], nil
}

// ParseMethod reads the arguments of a method.
func ParseMethod(id MethodID, args []byte) (Method, error) {
	e, ok := methods[id]
	if !ok {
		return nil, fmt.Errorf("%w: class %d, method %d", ErrUnknownMethod, id.Class(), id.Method())
	}
	m := e.make()
	d := decoder{b: args}
	m.parseArgs(&d)
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	return m, nil
}

// AppendMethod appends a method frame.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	dst, start := openFrame(dst, FrameMethod, channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.ID()))
	return closeFrame(m.appendArgs(dst), start)
}

type entry struct {
	name string
	make func() Method
}

// empty is a method without arguments.
type empty struct{}

func (empty) appendArgs(dst []byte) []byte { return dst }
func (empty) parseArgs(*decoder)           {}
