package core

import "time"

// Properties is the protocol-neutral form of a message's properties, used
// only where a message crosses from one protocol to the other. Absent strings
// are empty, see Has… fields where empty and absent differ.
type Properties struct {
	ContentType     string
	ContentEncoding string
	CorrelationID   []byte // nil when absent; any bytes
	ReplyTo         string // AMQP reply_to
	ResponseTopic   string // MQTT response topic, in topic form
	MessageID       string
	Type            string
	AppID           string
	UserID          string
	Persistent      bool
	HasPriority     bool
	Priority        uint8
	HasTimestamp    bool
	Timestamp       int64 // unix seconds
	// HasExpiry tells that the publisher set a time to live.
	HasExpiry bool
	// Expiry is the time to live as published, not what is left of it.
	Expiry time.Duration
	// HasPayloadFormat tells that PayloadFormat (MQTT 5: 0 bytes, 1 UTF-8) is set.
	HasPayloadFormat bool
	PayloadFormat    uint8
	// Headers are AMQP headers or MQTT user properties, in their order;
	// names may repeat.
	Headers []Header
}

// Header is one header or user property. Value is one of string, []byte,
// bool, int64, uint64, float64, [time.Time], nil, []any, []Header, or any
// other type that only its own protocol understands.
type Header struct {
	Name  string
	Value any
}

// PropertyDecoder reads the native property bytes of a format. The result
// must not alias props.
type PropertyDecoder func(props []byte) (Properties, error)
