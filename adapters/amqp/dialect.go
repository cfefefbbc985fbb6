package amqp

import (
	"slices"

	"github.com/tidegate/tidegate/core"
)

// These are the rules of AMQP for those who declare and publish by other means
// than a connection, so that the same is refused, in the same words.

// CheckQueue refuses a declaration that can't be carried out, and removes the
// arguments that change nothing.
func CheckQueue(namespace string, spec *core.QueueSpec) error {
	if err := checkQueueArguments(spec, object("queue", spec.Name, namespace)); err != nil {
		return err
	}
	if reserved(spec.Name) {
		return refuse(codeAccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", spec.Name)
	}
	return nil
}

// CheckExchange is CheckQueue for exchanges.
func CheckExchange(namespace string, spec *core.ExchangeSpec) error {
	if err := namedExchange(spec.Name); err != nil {
		return err
	}
	if err := checkExchangeType(spec.Type); err != nil {
		return err
	}
	args, err := checkExchangeArguments(spec.Type, spec.Args, object("exchange", spec.Name, namespace))
	spec.Args = args
	return err
}

// Refusal returns the reply code and the text that clients get for an error of
// the engine or of the checks above.
func Refusal(err error) (code int, text string) {
	reply := replyTo(err)
	return int(reply.code), reply.text
}

// Copies returns the keys of the headers CC and BCC, and of them those of BCC, and
// removes BCC: a message of another source is routed as one of a client's is.
func Copies(p *core.Properties) (keys, hidden [][]byte, err error) {
	for _, name := range [...]string{headerCC, headerBCC} {
		i := slices.IndexFunc(p.Headers, func(h core.Header) bool { return h.Name == name })
		if i < 0 {
			continue
		}
		value, before := p.Headers[i].Value, len(keys)
		if keys, err = appendCopies(keys, name, value, neutralType(value)); err != nil {
			return nil, nil, err
		}
		hidden = keys[before:]
		if name == headerCC {
			hidden = nil
		}
	}
	p.Headers = slices.DeleteFunc(p.Headers, func(h core.Header) bool { return h.Name == headerBCC })
	return keys, hidden, nil
}

// neutralType is the name that reply texts have for the type of a header.
func neutralType(v any) string {
	switch v := v.(type) {
	case int64:
		return "long"
	case []core.Header:
		return "table"
	default:
		return typeOf(v)
	}
}

// AppendProperties appends properties as property flags and list, the form of
// [core.FormatAMQP].
func AppendProperties(dst []byte, p *core.Properties) []byte {
	mode := uint8(1)
	if p.Persistent {
		mode = 2
	}
	return appendNeutral(dst, p, mode)
}
