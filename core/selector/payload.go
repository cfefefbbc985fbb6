package selector

import (
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

// payloadField reads a field of a payload in JSON; in an array a number as name counts
// its entries. What is no JSON, an object and an array are nothing.
func payloadField(payload []byte, path string) Value {
	if !gjson.ValidBytes(payload) {
		return Value{}
	}
	switch r := gjson.GetBytes(payload, path); r.Type {
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
