package selector

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// payloadPrefix begins the names that lead into the payload.
const payloadPrefix = "payload."

// payloadPath makes a path of gjson's of names with dots between them. What means
// something to gjson is part of a name here.
func payloadPath(names string) string {
	parts := strings.Split(names, ".")
	for i, part := range parts {
		parts[i] = gjson.Escape(part)
	}
	return strings.Join(parts, ".")
}

// subject is a message while a selector is asked about it. Its payload is looked
// through once, however many fields of it are asked for.
type subject struct {
	Source
	payload        []byte
	checked, valid bool
}

// payloadField reads a field of a payload in JSON; in an array a number as name counts its
// entries. What is no JSON, an object and an array are nothing. The payload is checked
// without recursion, since who publishes says how deep it is nested.
func (m *subject) payloadField(path string) Value {
	if !m.checked {
		m.checked, m.payload = true, m.Payload()
		m.valid = len(m.payload) <= maxPayload && json.Valid(m.payload)
	}
	if !m.valid {
		return Value{}
	}
	switch r := gjson.GetBytes(m.payload, path); r.Type {
	case gjson.True, gjson.False:
		return truth(r.Type == gjson.True)
	case gjson.String:
		return Value{Kind: Text, Text: []byte(r.Str)}
	case gjson.Number:
		if n, err := strconv.ParseInt(r.Raw, 10, 64); err == nil {
			return Value{Kind: Int, Int: n}
		}
		return Value{Kind: Float, Float: r.Num}
	case gjson.Null, gjson.JSON:
	}
	return Value{}
}
