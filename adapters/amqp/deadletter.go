package amqp

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// Headers of dead letters. The deaths are tables, the latest first: one for each
// queue and reason.
const (
	headerDeath      = "x-death"
	headerFirstDeath = "x-first-death-"
	headerLastDeath  = "x-last-death-"
)

// headerReturns tells how often a delivery of a quorum queue came back.
const headerReturns = "x-delivery-count"

// deathWords are what the headers of the first and the last death tell of them.
var deathWords = [...]string{"exchange", "queue", "reason"}

// death is an entry of the header x-death.
type death []wire.Field

// text returns a field that is text.
func (e death) text(name string) string {
	for i := range e {
		if e[i].Name == name {
			s, _ := e[i].Value.(string)
			return s
		}
	}
	return ""
}

// again counts one more.
func (e death) again() {
	for i := range e {
		if n, ok := e[i].Value.(int64); ok && e[i].Name == "count" {
			e[i].Value = n + 1
		}
	}
}

// DeadLetter writes the dead letters of queues. It is the [core.DeathWriter]. What
// was published by other protocols becomes a message of this one.
func DeadLetter(b *core.Broker, d *core.Death) (core.DeadLetter, error) {
	m := d.Message
	letter := core.DeadLetter{Key: m.Key}
	properties := m.Properties
	if m.Format != core.FormatAMQP {
		letter.Key = clipKey(appendSwapped(nil, m.Key))
		// What can't be read is left out, as on the way to a consumer.
		properties, _ = appendTranslated(b, nil, m, letter.Key)
	}
	var p wire.Properties
	if err := p.Parse(properties); err != nil {
		return letter, fmt.Errorf("dead letter: %w", err)
	}
	fields, err := p.Headers.Fields()
	if err != nil {
		return letter, fmt.Errorf("dead letter: %w", err)
	}
	copies := letterCopies(p.Headers)
	if !d.Keyed {
		letter.MoreKeys = copies
	}
	all := pastDeaths(fields, d.Known)
	if i := slices.IndexFunc(all, func(e death) bool { return e.text("queue") == d.Queue && e.text("reason") == d.Reason }); i >= 0 {
		this := all[i]
		this.again()
		all = slices.Insert(slices.Delete(all, i, i+1), 0, this)
	} else {
		all = slices.Insert(all, 0, newDeath(d, &p, letter.Key, copies))
	}
	for _, e := range all {
		letter.Past = append(letter.Past, core.PastDeath{Queue: e.text("queue"), Reason: e.text("reason")})
	}
	fields = letterHeaders(fields, all, d)
	p.Flags = p.Flags&^wire.FlagExpiration | wire.FlagHeaders
	p.Headers = wire.EncodeTable(fields)
	letter.Properties = p.Append(nil)
	return letter, nil
}

// letterCopies are the further keys of a message that was published with them.
func letterCopies(headers wire.Table) [][]byte {
	list, _ := headers.Lookup(headerCC)
	keys, err := appendCopies(nil, headerCC, list, "")
	if err != nil {
		return nil // of another protocol
	}
	return keys
}

// newDeath is the entry of a first death.
func newDeath(d *core.Death, p *wire.Properties, key []byte, copies [][]byte) death {
	keys := []any{string(key)}
	for _, k := range copies {
		keys = append(keys, string(k))
	}
	e := death{
		{Name: "count", Value: int64(1)},
		{Name: "reason", Value: d.Reason},
		{Name: "queue", Value: d.Queue},
		{Name: "time", Value: wire.Timestamp(max(0, d.Time.Unix()))},
		{Name: "exchange", Value: string(d.Message.Exchange)},
		{Name: "routing-keys", Value: keys},
	}
	if p.Has(wire.FlagExpiration) {
		e = append(e, wire.Field{Name: "original-expiration", Value: string(bytes.Clone(p.Expiration))})
	}
	return e
}

// pastDeaths are the deaths that the headers tell of, if the broker has written them.
func pastDeaths(fields []wire.Field, known bool) (all []death) {
	i := slices.IndexFunc(fields, func(f wire.Field) bool { return f.Name == headerDeath })
	if i < 0 || !known {
		return nil
	}
	list, _ := fields[i].Value.([]any)
	for _, v := range list {
		if e, ok := v.([]wire.Field); ok {
			all = append(all, e)
		}
	}
	return all
}

// letterHeaders are the headers of a dead letter. The first death of those that are
// known stays the first.
func letterHeaders(fields []wire.Field, all []death, d *core.Death) []wire.Field {
	first := death(nil)
	for _, word := range deathWords {
		for i := range fields {
			if d.Known && fields[i].Name == headerFirstDeath+word {
				first = append(first, wire.Field{Name: word, Value: fields[i].Value})
			}
		}
	}
	if len(first) != len(deathWords) {
		first = all[0]
	}
	fields = slices.DeleteFunc(fields, func(f wire.Field) bool {
		return f.Name == headerDeath || isDeathHeader(f.Name) || d.Keyed && f.Name == headerCC
	})
	list := make([]any, len(all))
	for i := range all {
		list[i] = []wire.Field(all[i])
	}
	fields = append(fields, wire.Field{Name: headerDeath, Value: list})
	for _, word := range deathWords {
		fields = append(fields, wire.Field{Name: headerFirstDeath + word, Value: first.text(word)})
	}
	for _, word := range deathWords {
		fields = append(fields, wire.Field{Name: headerLastDeath + word, Value: all[0].text(word)})
	}
	return fields
}

func isDeathHeader(name string) bool {
	for _, word := range deathWords {
		if name == headerFirstDeath+word || name == headerLastDeath+word {
			return true
		}
	}
	return false
}
