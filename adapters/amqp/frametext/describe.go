package frametext

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// random matches names that the server makes, which end in 22 random characters.
var random = regexp.MustCompile(`\b(amq\.(?:gen|ctag)-)[A-Za-z0-9_-]{22}`)

// Describe writes a frame as a line. Random names become "amq.gen-...", double
// quotes in texts single ones, and tables of methods "...".
func Describe(f wire.Frame) (string, error) {
	line := strconv.Itoa(int(f.Channel)) + " "
	switch f.Type {
	case wire.FrameHeader:
		words, err := describeHeader(f.Payload)
		return line + words, err
	case wire.FrameBody:
		return line + "body " + string(f.Payload), nil
	case wire.FrameHeartbeat:
		return line + "heartbeat", nil
	}
	id, args, err := wire.SplitMethod(f.Payload)
	if err != nil {
		return "", fmt.Errorf("method: %w", err)
	}
	m, err := wire.ParseMethod(id, args)
	if err != nil {
		return "", fmt.Errorf("%s: %w", id, err)
	}
	words := []string{id.String()}
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		if field.IsZero() || !v.Type().Field(i).IsExported() {
			continue
		}
		switch value := field.Interface().(type) {
		case bool:
			words = append(words, name)
		case wire.Table:
			if len(value) > 0 {
				words = append(words, name+"=...")
			}
		case []byte:
			if len(value) > 0 {
				words = append(words, quote(name+"="+string(value)))
			}
		default:
			words = append(words, quote(fmt.Sprintf("%s=%v", name, value)))
		}
	}
	return line + strings.Join(words, " "), nil
}

// quote makes a word of a text that may have spaces.
func quote(text string) string {
	text = random.ReplaceAllString(text, "$1...")
	text = strings.NewReplacer(`"`, "'", "\n", `\n`, "\t", " ").Replace(text)
	name, value, _ := strings.Cut(text, "=")
	if strings.Contains(value, " ") || value == "" {
		return name + `="` + value + `"`
	}
	return text
}
