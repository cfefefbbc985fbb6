package frametext

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// parseField reads NAME=VALUE or NAME:TAG=VALUE. Without a tag the value is an
// int32 or a boolean if it looks like one, an array if it is in brackets, a table
// if it is in braces (with commas between the elements), else a string. Values of
// tag x are hexadecimal digits, those of tag D a scale and a number with a comma
// between them.
func parseField(word string) (wire.Field, error) {
	name, value, _ := strings.Cut(word, "=")
	plain, tag, tagged := strings.Cut(name, ":")
	if !tagged {
		v, err := parseValue(value)
		return wire.Field{Name: name, Value: v}, err
	}
	v, err := parseTagged(tag, value)
	if err != nil {
		return wire.Field{}, fmt.Errorf("%w: %q", ErrSyntax, word)
	}
	return wire.Field{Name: plain, Value: v}, nil
}

func parseValue(value string) (any, error) {
	if list, ok := strings.CutPrefix(value, "["); ok {
		elements := []any{}
		for e := range strings.SplitSeq(strings.TrimSuffix(list, "]"), ",") {
			v, err := parseValue(e)
			if err != nil {
				return nil, err
			}
			elements = append(elements, v)
		}
		return elements, nil
	}
	if list, ok := strings.CutPrefix(value, "{"); ok {
		fields := []wire.Field{}
		for e := range strings.SplitSeq(strings.TrimSuffix(list, "}"), ",") {
			f, err := parseField(e)
			if err != nil {
				return nil, err
			}
			fields = append(fields, f)
		}
		return fields, nil
	}
	if n, err := strconv.ParseInt(value, 10, 32); err == nil {
		return int32(n), nil
	}
	if value == "true" || value == "false" {
		return value == "true", nil
	}
	return value, nil
}

func parseTagged(tag, value string) (any, error) {
	switch tag {
	case "S":
		return value, nil
	case "x":
		return hex.DecodeString(value)
	case "V":
		return nil, nil
	case "A":
		return []any{}, nil
	case "F":
		return []wire.Field{}, nil
	case "f":
		f, err := strconv.ParseFloat(value, 32)
		return float32(f), err
	case "d":
		return strconv.ParseFloat(value, 64)
	case "i", "L", "T", "B", "u":
		n, err := strconv.ParseUint(value, 10, 64)
		return map[string]any{
			"i": uint32(n), "L": n, "T": wire.Timestamp(n), "B": uint8(n), "u": uint16(n),
		}[tag], err
	case "b", "s", "I", "l":
		n, err := strconv.ParseInt(value, 10, 64)
		return map[string]any{"b": int8(n), "s": int16(n), "I": int32(n), "l": n}[tag], err
	case "D":
		scale, number, _ := strings.Cut(value, ",")
		s, err := strconv.ParseUint(scale, 10, 8)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(number, 10, 32)
		return wire.Decimal{Scale: uint8(s), Value: uint32(n)}, err
	}
	return nil, fmt.Errorf("%w: tag %q", ErrSyntax, tag)
}

// describeField writes a field as parseField reads it.
func describeField(f wire.Field) string {
	tag, text := describeValue(f.Value)
	if tag != "" {
		tag = ":" + tag
	}
	return f.Name + tag + "=" + text
}

// describeValue writes a value, with its tag where the text alone would be read as
// another type.
func describeValue(value any) (tag, text string) {
	switch v := value.(type) {
	case int32:
		return "", strconv.Itoa(int(v))
	case bool:
		return "", strconv.FormatBool(v)
	case string:
		if read, err := parseValue(v); err != nil || read != any(v) {
			return "S", v
		}
		return "", v
	case []any:
		elements := make([]string, 0, len(v))
		for _, e := range v {
			tag, text := describeValue(e)
			if tag != "" {
				text = tag + "(" + text + ")"
			}
			elements = append(elements, text)
		}
		return "", "[" + strings.Join(elements, ",") + "]"
	case []wire.Field:
		elements := make([]string, 0, len(v))
		for _, f := range v {
			elements = append(elements, describeField(f))
		}
		return "", "{" + strings.Join(elements, ",") + "}"
	case []byte:
		return "x", hex.EncodeToString(v)
	case nil:
		return "V", ""
	case wire.Decimal:
		return "D", fmt.Sprintf("%d,%d", v.Scale, v.Value)
	}
	return tagOf(value), fmt.Sprint(value)
}

func tagOf(value any) string {
	switch value.(type) {
	case int8:
		return "b"
	case uint8:
		return "B"
	case int16:
		return "s"
	case uint16:
		return "u"
	case uint32:
		return "i"
	case int64:
		return "l"
	case uint64:
		return "L"
	case float32:
		return "f"
	case float64:
		return "d"
	default:
		return "T"
	}
}
