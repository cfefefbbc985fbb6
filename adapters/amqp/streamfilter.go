package amqp

import (
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// Arguments of consumers and the header of messages by which a stream is filtered.
const (
	argFilter      = "x-stream-filter"
	argUnfiltered  = "x-stream-match-unfiltered"
	headerFiltered = "x-stream-filter-value"
)

// streamFilter chooses among the messages of a stream those that a consumer gets: by
// their value, which is a string. A message without one has the empty one.
type streamFilter struct {
	values map[string]struct{}
	decode func(*core.Message) (core.Properties, error)
}

// readStreamFilter reads the consumer arguments; nil without a filter. RabbitMQ
// leaves out in silence what is no string: the consumer would get what it did not
// ask for, so it is refused.
func readStreamFilter(args map[string]any, queue string, decode func(*core.Message) (core.Properties, error)) (*streamFilter, error) {
	given, filtered := args[argFilter]
	unfiltered, said := args[argUnfiltered]
	matchUnfiltered, ok := unfiltered.(bool)
	if said && !ok {
		return nil, refuse(codePreconditionFailed, `invalid arg '%s' for %s: "expected boolean, got %s"`,
			argUnfiltered, queue, typeOf(unfiltered))
	}
	if !filtered {
		return nil, nil
	}
	list, isList := given.([]any)
	if !isList {
		list = []any{given}
	}
	f := &streamFilter{values: make(map[string]struct{}, len(list)+1), decode: decode}
	for _, entry := range list {
		value, isText := entry.(string)
		if !isText {
			return nil, refuse(codePreconditionFailed, `invalid arg '%s' for %s: "expected string, got %s"`,
				argFilter, queue, typeOf(entry))
		}
		f.values[value] = struct{}{}
	}
	if matchUnfiltered {
		f.values[""] = struct{}{}
	}
	if args[argumentGroup] != nil {
		return nil, refuse(codePreconditionFailed, `invalid arg '%s' for %s: "consumer groups have no filters"`, argFilter, queue)
	}
	return f, nil
}

// match tells whether the consumer gets a message.
func (f *streamFilter) match(m *core.Message) bool {
	if m.Format == core.FormatAMQP {
		_, ok := f.values[string(filterValue(m.Properties))]
		return ok
	}
	_, ok := f.values[f.converted(m)]
	return ok
}

// filterValue is the value of a message, in place. What is no string is no value, as
// in RabbitMQ.
func filterValue(properties []byte) []byte {
	if len(properties) == 0 {
		return nil
	}
	var p wire.Properties
	if p.Parse(properties) != nil {
		return nil
	}
	for it := p.Headers.Iter(); it.Next(); {
		if string(it.Name()) != headerFiltered {
			continue
		}
		if it.Tag() != 'S' {
			break
		}
		return it.Raw()
	}
	return nil
}

// converted is the value of a message of another protocol, of which the header is made
// when it is delivered.
func (f *streamFilter) converted(m *core.Message) string {
	p, err := f.decode(m)
	if err != nil {
		return ""
	}
	for i := range p.Headers {
		if h := &p.Headers[i]; h.Name == headerFiltered {
			value, _ := h.Value.(string)
			return value
		}
	}
	return ""
}
