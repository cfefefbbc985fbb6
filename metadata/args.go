package metadata

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Arguments are stored as plain JSON. What JSON has no type for is an object
// of one member whose name begins with "$":
//
//	{"$bytes": base64}           []byte
//	{"$string": base64}          a string that is not UTF-8
//	{"$time": RFC 3339}          time.Time
//	{"$pairs": [[name, value]]}  a map with a name that is not UTF-8 or begins with "$"
//
// Integers of all sizes come back as int64, or as uint64 above its range;
// other numbers come back as float64.
const (
	tagBytes  = "$bytes"
	tagString = "$string"
	tagTime   = "$time"
	tagPairs  = "$pairs"
)

// maxArgsDepth is how deep arguments may nest.
const maxArgsDepth = 64

func marshalArgs(args map[string]any) ([]byte, error) {
	plain, err := encodeArg(args, 0)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w: %w", ErrInvalid, err)
	}
	return text, nil
}

// encodeArg turns a value into one that encoding/json writes without loss.
func encodeArg(v any, depth int) (any, error) {
	if depth > maxArgsDepth {
		return nil, fmt.Errorf("arguments nest deeper than %d: %w", maxArgsDepth, ErrInvalid)
	}
	switch v := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return v, nil
	case string:
		return encodeString(v), nil
	case []byte:
		return map[string]any{tagBytes: base64.StdEncoding.EncodeToString(v)}, nil
	case time.Time:
		return map[string]any{tagTime: v.UTC().Format(time.RFC3339Nano)}, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = encodeArg(v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		return encodeMap(v, depth)
	}
	return nil, fmt.Errorf("argument of type %T: %w", v, ErrInvalid)
}

func encodeString(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return map[string]any{tagString: base64.StdEncoding.EncodeToString([]byte(s))}
}

func encodeMap(m map[string]any, depth int) (any, error) {
	out := make(map[string]any, len(m))
	plain := true
	for name, value := range m {
		plain = plain && utf8.ValidString(name) && !strings.HasPrefix(name, "$")
		encoded, err := encodeArg(value, depth+1)
		if err != nil {
			return nil, err
		}
		out[name] = encoded
	}
	if plain {
		return out, nil
	}
	names := make([]string, 0, len(out))
	for name := range out {
		names = append(names, name)
	}
	slices.Sort(names)
	pairs := make([]any, len(names))
	for i, name := range names {
		pairs[i] = []any{encodeString(name), out[name]}
	}
	return map[string]any{tagPairs: pairs}, nil
}

// decodeArg undoes encodeArg after a decoder that keeps numbers as json.Number.
func decodeArg(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return decodeNumber(v)
	case []any:
		for i := range v {
			var err error
			if v[i], err = decodeArg(v[i]); err != nil {
				return nil, err
			}
		}
		return v, nil
	case map[string]any:
		if len(v) == 1 {
			for tag, value := range v {
				if strings.HasPrefix(tag, "$") {
					return decodeTagged(tag, value)
				}
			}
		}
		for name, value := range v {
			decoded, err := decodeArg(value)
			if err != nil {
				return nil, err
			}
			v[name] = decoded
		}
		return v, nil
	}
	return v, nil
}

func decodeNumber(n json.Number) (any, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("number %s: %w", n, err)
	}
	return f, nil
}

func decodeTagged(tag string, value any) (any, error) {
	if tag == tagPairs {
		return decodePairs(value)
	}
	text, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("argument %s of type %T", tag, value)
	}
	switch tag {
	case tagTime:
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", tag, err)
		}
		return at, nil
	case tagBytes, tagString:
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", tag, err)
		}
		if tag == tagString {
			return string(raw), nil
		}
		return raw, nil
	}
	return nil, fmt.Errorf("unknown argument type %s", tag)
}

func decodePairs(value any) (any, error) {
	pairs, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("argument %s of type %T", tagPairs, value)
	}
	out := make(map[string]any, len(pairs))
	for _, p := range pairs {
		pair, ok := p.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("argument %s without pairs", tagPairs)
		}
		name, err := decodeArg(pair[0])
		if err != nil {
			return nil, err
		}
		text, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("argument %s with a name of type %T", tagPairs, name)
		}
		if out[text], err = decodeArg(pair[1]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
