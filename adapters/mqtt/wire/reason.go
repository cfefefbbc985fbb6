package wire

import "fmt"

// Reason is a reason code of MQTT 5. Codes of 0x80 and above are failures.
type Reason uint8

// The reason codes that this server sends or acts on.
const (
	Success                Reason = 0x00
	DisconnectWithWill     Reason = 0x04
	NoMatchingSubscribers  Reason = 0x10
	NoSubscriptionExisted  Reason = 0x11
	UnspecifiedError       Reason = 0x80
	MalformedPacket        Reason = 0x81
	ProtocolError          Reason = 0x82
	ImplementationSpecific Reason = 0x83
	UnsupportedVersion     Reason = 0x84
	ClientIDNotValid       Reason = 0x85
	BadUserOrPassword      Reason = 0x86
	NotAuthorized          Reason = 0x87
	ServerUnavailable      Reason = 0x88
	ServerBusy             Reason = 0x89
	ServerShuttingDown     Reason = 0x8B
	BadAuthMethod          Reason = 0x8C
	KeepAliveTimeout       Reason = 0x8D
	SessionTakenOver       Reason = 0x8E
	TopicFilterInvalid     Reason = 0x8F
	TopicNameInvalid       Reason = 0x90
	PacketIDInUse          Reason = 0x91
	PacketIDNotFound       Reason = 0x92
	ReceiveMaximumExceeded Reason = 0x93
	TopicAliasInvalid      Reason = 0x94
	PacketTooLarge         Reason = 0x95
	QuotaExceeded          Reason = 0x97
	AdministrativeAction   Reason = 0x98
	PayloadFormatInvalid   Reason = 0x99
)

// Failed tells whether the code is a failure.
func (r Reason) Failed() bool { return r >= 0x80 }

// ConnackCode returns the CONNACK return code of MQTT 3.1.1 that comes nearest.
func (r Reason) ConnackCode() byte {
	switch r {
	case Success:
		return 0
	case UnsupportedVersion:
		return 1
	case ClientIDNotValid:
		return 2
	case BadUserOrPassword:
		return 4
	case NotAuthorized, BadAuthMethod, TopicNameInvalid:
		return 5
	default:
		return 3
	}
}

// Error is a fault of the peer, or a refusal, that ends the connection. Its
// Reason is what an MQTT 5 client is told in DISCONNECT or CONNACK.
type Error struct {
	Reason Reason
	Detail string
}

// Error returns the detail and the code.
func (e *Error) Error() string { return fmt.Sprintf("%s (reason 0x%02x)", e.Detail, uint8(e.Reason)) }

func malformed(detail string) error { return &Error{Reason: MalformedPacket, Detail: detail} }
func violation(detail string) error { return &Error{Reason: ProtocolError, Detail: detail} }
