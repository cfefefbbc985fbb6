package amqp

import (
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// Headers with further routing keys. Consumers see CC and not BCC.
const (
	headerCC  = "CC"
	headerBCC = "BCC"
)

// rewrite does what the properties ask for: the message gets its further
// routing keys, the time when it is due, and other properties than those that came.
func (ch *channel) rewrite(m *core.Message, p wire.Properties, a asks) error {
	changed := a.reply || a.copies
	if a.delay {
		held, err := ch.schedule(m, &p)
		if err != nil {
			return err
		}
		changed = changed || held
	}
	if a.reply {
		p.ReplyTo = []byte(ch.replies.address)
	}
	if a.copies {
		keys, told, err := copyKeys(p.Headers)
		if err != nil {
			return err
		}
		if err := ch.permitCopies(m.Exchange, keys); err != nil {
			return err
		}
		m.MoreKeys, m.HiddenKeys = keys, keys[told:]
		p.Headers = p.Headers.AppendWithout(nil, headerBCC)
	}
	if !changed {
		return nil
	}
	ch.rewritten = p.Append(ch.rewritten[:0])
	m.Properties = ch.rewritten
	return nil
}

// permitCopies checks the permission on each key if the exchange is one of topics.
func (ch *channel) permitCopies(exchange []byte, keys [][]byte) error {
	rule, err := ch.c.grant(exchange)
	if rule == nil || err != nil {
		return err
	}
	for _, key := range keys {
		if err := ch.permitTopic(gateway.Write, rule.MayWrite(key), string(exchange), string(key)); err != nil {
			return err
		}
	}
	return nil
}

// copyKeys returns the keys of CC, which are told of, then those of BCC. As in RabbitMQ
// each must be an array, in which only strings count; of repeated headers the first
// counts.
func copyKeys(headers wire.Table) (keys [][]byte, told int, err error) {
	for _, name := range [...]string{headerCC, headerBCC} {
		for it := headers.Iter(); it.Next(); {
			if string(it.Name()) != name {
				continue
			}
			v, err := it.Value()
			if err != nil {
				return nil, 0, malformed(wire.IDBasicPublish, err)
			}
			if keys, err = appendCopies(keys, name, v, fieldTypes[it.Tag()]); err != nil {
				return nil, 0, err
			}
			break
		}
		if name == headerCC {
			told = len(keys)
		}
	}
	return keys, told, nil
}

// appendCopies appends the keys of one header; typ is the type of its value.
func appendCopies(keys [][]byte, name string, value any, typ string) ([][]byte, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, refuse(codePreconditionFailed, `invalid message: {unacceptable_type_in_header,"%s",%s}`, name, typ)
	}
	for _, e := range list {
		if key, ok := e.(string); ok {
			keys = append(keys, []byte(key))
		}
	}
	return keys, nil
}

// fieldTypes are the names that reply texts have for the types of fields.
var fieldTypes = map[byte]string{
	't': "bool", 'b': "byte", 'B': "unsignedbyte", 's': "short", 'u': "unsignedshort", 'I': "signedint",
	'i': "unsignedint", 'l': "long", 'L': "long", 'f': "float", 'd': "double", 'D': "decimal", 'S': "longstr",
	'x': "binary", 'A': "array", 'F': "table", 'T': "timestamp", 'V': "void",
}
