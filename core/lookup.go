package core

import (
	"bytes"
	"time"
)

// lookup decodes what a message carries once an exchange asks for it.
type lookup struct {
	broker     *Broker
	format     Format
	properties []byte
	decoded    *Properties
}

func (l *lookup) decode() *Properties {
	if l.decoded != nil {
		return l.decoded
	}
	// The bytes may lie in a read buffer, and decoders are not trusted with it.
	p, err := l.broker.Decode(&Message{Format: l.format, Properties: bytes.Clone(l.properties)})
	if err != nil {
		p = Properties{} // matches no header
	}
	l.decoded = &p
	return l.decoded
}

// header returns the first header of the name.
func (l *lookup) header(name string) (any, bool) {
	p := l.decode()
	for i := range p.Headers {
		if p.Headers[i].Name == name {
			return p.Headers[i].Value, true
		}
	}
	return nil, false
}

// property returns one of the properties that a consistent hash may go by.
func (l *lookup) property(name string) (any, bool) {
	p := l.decode()
	switch {
	case name == "message_id" && p.MessageID != "":
		return p.MessageID, true
	case name == "correlation_id" && p.CorrelationID != nil:
		return p.CorrelationID, true
	case name == "timestamp" && p.HasTimestamp:
		return time.Unix(p.Timestamp, 0), true
	}
	return nil, false
}
