package session

// AliasesIn are the topic aliases that the client has set.
type AliasesIn struct {
	max    uint16
	topics [][]byte
}

// NewAliasesIn allows aliases from 1 to limit.
func NewAliasesIn(limit uint16) AliasesIn { return AliasesIn{max: limit} }

// Resolve returns the topic that a publish with the alias is for, and keeps the
// given topic under it unless it is empty. ok is false for an alias that is out
// of range or was not set. The result is valid until the alias is set again.
func (a *AliasesIn) Resolve(alias uint16, topic []byte) (_ []byte, ok bool) {
	if alias == 0 || alias > a.max {
		return nil, false
	}
	i := int(alias) - 1
	if len(topic) == 0 {
		if i >= len(a.topics) || len(a.topics[i]) == 0 {
			return nil, false
		}
		return a.topics[i], true
	}
	for len(a.topics) <= i {
		a.topics = append(a.topics, nil)
	}
	a.topics[i] = append(a.topics[i][:0], topic...)
	return a.topics[i], true
}

// maxAliasTopic is the longest topic that an outgoing alias is spent on.
const maxAliasTopic = 1024

// AliasesOut are the topic aliases that the server has set. An alias keeps its
// topic as long as the connection lasts.
type AliasesOut struct {
	max   uint16
	known map[string]uint16
}

// NewAliasesOut allows aliases from 1 to limit; 0 means none.
func NewAliasesOut(limit uint16) AliasesOut { return AliasesOut{max: limit} }

// Find returns the alias for a topic, 0 when it has none and gets none. known
// tells that the client has it; otherwise it is set by the packet that carries
// both, and Sent must be called once that packet is on its way.
func (a *AliasesOut) Find(topic []byte) (alias uint16, known bool) {
	if a.max == 0 || len(topic) > maxAliasTopic {
		return 0, false
	}
	if alias, known = a.known[string(topic)]; known {
		return alias, true
	}
	if len(a.known) >= int(a.max) {
		return 0, false
	}
	return uint16(len(a.known) + 1), false
}

// Sent registers an alias that Find proposed.
func (a *AliasesOut) Sent(topic []byte, alias uint16) {
	if a.known == nil {
		a.known = make(map[string]uint16)
	}
	a.known[string(topic)] = alias
}
