package amqp

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// argumentRule tells what to do with an argument that is known.
type argumentRule uint8

const (
	ignored     argumentRule = iota // accepted, changes nothing here
	unsupported                     // changes what the queue does in a way that is not there
	streamOnly                      // means something on streams alone
	checked                         // has a check of its own
	number                          // part of the declaration, an integer of 0 or more
	kept                            // part of the declaration, checked by the engine
	deadLetter                      // part of the declaration, see checkDeadLetters
	prefix                          // of the name that the server makes
)

// queueArguments are the queue arguments that programs for RabbitMQ use, and
// Tidegate's own. All others are accepted and kept, as RabbitMQ does.
var queueArguments = map[string]argumentRule{
	"x-queue-type":                    checked,
	argOverflow:                       checked,
	argDeliveryLimit:                  deadLetter,
	argSingleActive:                   checked,
	"x-ordering":                      checked,
	"x-message-deduplication":         checked,
	"x-durability":                    kept,
	"x-message-ttl":                   number,
	"x-expires":                       number,
	"x-max-length":                    number,
	"x-max-length-bytes":              number,
	argMaxPriority:                    checked,
	argDeadExchange:                   deadLetter,
	argDeadKey:                        deadLetter,
	argDeadStrategy:                   deadLetter,
	"x-consumer-timeout":              number,
	"x-delayed-retry-type":            unsupported,
	"x-delayed-retry-min":             unsupported,
	"x-delayed-retry-max":             unsupported,
	"x-max-age":                       streamOnly,
	"x-stream-max-segment-size-bytes": streamOnly,
	"x-stream-filter-size-bytes":      streamOnly,
	"x-cleanup-policy":                streamOnly,
	argNamePrefix:                     prefix,
	"x-queue-mode":                    ignored,
	"x-queue-version":                 ignored,
	"x-queue-leader-locator":          ignored,
	"x-queue-master-locator":          ignored,
	"x-quorum-initial-group-size":     ignored,
	"x-quorum-target-group-size":      ignored,
	"x-initial-cluster-size":          ignored,
}

// checkQueueArguments refuses what can't be done, and leaves in spec the
// arguments that are part of the declaration. queue names it in refusals.
func checkQueueArguments(spec *core.QueueSpec, queue string) error {
	args := spec.Args
	if args["x-queue-type"] == "stream" {
		return checkStreamArguments(spec, queue)
	}
	for name, value := range args {
		rule, known := queueArguments[name]
		switch {
		case name == "x-queue-mode" && value != "lazy" && value != "default":
			return refuse(codePreconditionFailed, `invalid arg 'x-queue-mode' for %s: "unsupported queue mode '%v'"`, queue, value)
		case !known || rule == ignored: // told back, and nothing else
		case name == argOverflow && !slices.Contains(overflows, value):
			return badOverflow(value, queue)
		case name == argOverflow:
		case rule == unsupported, rule == checked && changes(name, value):
			return refuse(codeNotImplemented, "argument '%s' of %s is not supported in this version", name, queue)
		case rule == streamOnly:
			return refuse(codePreconditionFailed, "invalid arg '%s' for %s of queue type %s", name, queue, typeOfQueue(args))
		case rule == prefix:
			if err := checkPrefix(value, queue); err != nil {
				return err
			}
		case rule == number:
			if err := checkNumber(name, value, queue); err != nil {
				return err
			}
		case rule == deadLetter:
			if err := checkDeadLetters(name, args, queue); err != nil {
				return err
			}
		case name == argMaxPriority:
			if err := checkMaxPriority(args, queue); err != nil {
				return err
			}
		case name == argSingleActive:
			if err := checkSingleActive(args, queue); err != nil {
				return err
			}
		case rule != kept && name != "x-queue-type":
			delete(args, name) // says what holds anyway
		}
	}
	return checkQueueType(spec, queue)
}

// typeOfQueue is what reply texts call the type of queue that arguments ask for.
func typeOfQueue(args map[string]any) string {
	if args["x-queue-type"] == "quorum" {
		return "rabbit_quorum_queue"
	}
	return "rabbit_classic_queue"
}

// argNamePrefix begins the name that the server makes for a queue without one, in
// place of "amq.gen".
const argNamePrefix = "x-name-prefix"

// maxPrefix is the length of the longest prefix of names.
const maxPrefix = 64

func checkPrefix(value any, queue string) error {
	text, ok := value.(string)
	switch {
	case !ok:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {unacceptable_type,%s}", argNamePrefix, queue, typeOf(value))
	case len(text) > maxPrefix:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {max_length_exceeded,%d}", argNamePrefix, queue, len(text))
	case !utf8.ValidString(text):
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: not_utf8", argNamePrefix, queue)
	}
	return nil
}

// changes tells whether the value of an argument asks for more than what holds
// without it.
func changes(name string, value any) bool {
	switch name {
	case "x-message-deduplication":
		return value != false
	case "x-ordering":
		return value != "none"
	}
	return false
}

// argOverflow is the argument that says what becomes of what is too much.
const argOverflow = "x-overflow"

func badOverflow(value any, queue string) error {
	if _, isName := value.(string); !isName {
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {unacceptable_type,%s}", argOverflow, queue, typeOf(value))
	}
	return refuse(codePreconditionFailed, "invalid arg '%s' for %s: invalid_overflow", argOverflow, queue)
}

// overflows are the answers to a queue that is too long.
var overflows = []any{"drop-head", "reject-publish", "reject-publish-dlx"}

// longestTerm is the longest time that RabbitMQ takes for messages and queues to live.
const longestTerm = 3650 * 24 * time.Hour

// checkNumber checks an integer that is not negative.
func checkNumber(name string, value any, queue string) error {
	switch n, ok := value.(int64); {
	case !ok:
		return refuse(codePreconditionFailed, `invalid arg '%s' for %s: "expected integer, got %s"`, name, queue, typeOf(value))
	case n < 0:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {value_negative,%d}", name, queue, n)
	case n > longestTerm.Milliseconds() && (name == "x-expires" || name == "x-message-ttl"):
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {value_too_large,%d}", name, queue, n)
	case n == 0 && name == "x-expires":
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {value_zero,0}", name, queue)
	}
	return nil
}

// argMaxPriority is the argument with the highest priority of messages.
const argMaxPriority = "x-max-priority"

// checkMaxPriority checks the highest priority, which classic queues alone have.
func checkMaxPriority(args map[string]any, queue string) error {
	if args["x-queue-type"] == "quorum" {
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s of queue type rabbit_quorum_queue", argMaxPriority, queue)
	}
	if err := checkNumber(argMaxPriority, args[argMaxPriority], queue); err != nil {
		return err
	}
	if n := args[argMaxPriority].(int64); n > math.MaxUint8 { //nolint:errcheck,forcetypeassert // checkNumber saw to that
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {max_value_exceeded,%d}", argMaxPriority, queue, n)
	}
	return nil
}

// argSingleActive is the argument that has one consumer served at a time.
const argSingleActive = "x-single-active-consumer"

// checkSingleActive checks a switch; off is as if it were not given.
func checkSingleActive(args map[string]any, queue string) error {
	switch on, ok := args[argSingleActive].(bool); {
	case !ok:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {unacceptable_type,%s}",
			argSingleActive, queue, typeOf(args[argSingleActive]))
	case !on:
		delete(args, argSingleActive)
	}
	return nil
}

// checkQueueType checks x-queue-type, and what a quorum queue can't be. Both
// types are kept alike; classic is as if it were not given.
func checkQueueType(m *core.QueueSpec, queue string) error {
	value, given := m.Args["x-queue-type"]
	if !given {
		return nil
	}
	switch value {
	case "classic":
		delete(m.Args, "x-queue-type")
		return nil
	case "quorum":
	default:
		if _, isName := value.(string); !isName {
			return refuse(codePreconditionFailed, "invalid arg 'x-queue-type' for %s: {unacceptable_type,%s}", queue, typeOf(value))
		}
		return refuse(codePreconditionFailed, `invalid arg 'x-queue-type' for %s: "unsupported queue type '%v'"`, queue, value)
	}
	return checkReplicated(m, "quorum", queue)
}

// checkReplicated refuses what queues of types that have replicas can't be.
func checkReplicated(m *core.QueueSpec, queueType, queue string) error {
	var invalid string
	switch {
	case m.Name == "":
		return refuse(codePreconditionFailed, "Cannot declare a server-named queue for type rabbit_%s_queue", queueType)
	case !m.Durable:
		invalid = "non-durable"
	case m.Exclusive:
		invalid = "exclusive-owner"
	case m.AutoDelete:
		invalid = "auto-delete"
	default:
		return nil
	}
	return refuse(codePreconditionFailed, "invalid property '%s' for %s", invalid, queue)
}

// checkConsumeArguments refuses what can't be done, and returns the consumer's
// priority. Those of stream queues are checked when the type of the queue is
// known, see streamArguments.
func checkConsumeArguments(args map[string]any, queue string) (priority int64, err error) {
	if value, given := args["x-priority"]; given {
		var ok bool
		if priority, ok = value.(int64); !ok {
			return 0, refuse(codePreconditionFailed, `invalid arg 'x-priority' for %s: "expected integer, got %s"`,
				queue, typeOf(value))
		}
	}
	return priority, nil
}

// plainTable turns a table into the engine's form of arguments: integers of
// any width are int64, floats float64, times time.Time. Of repeated names the
// first counts.
func plainTable(t wire.Table) (map[string]any, error) {
	if len(t) == 0 {
		return nil, nil
	}
	fields, err := t.Fields()
	if err != nil {
		return nil, fmt.Errorf("decode arguments: %w", err)
	}
	return plainFields(fields), nil
}

func plainFields(fields []wire.Field) map[string]any {
	args := make(map[string]any, len(fields))
	for _, f := range fields {
		if _, repeated := args[f.Name]; !repeated {
			args[f.Name] = plainValue(f.Value)
		}
	}
	return args
}

func plainValue(v any) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case uint8:
		return int64(v)
	case int16:
		return int64(v)
	case uint16:
		return int64(v)
	case int32:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return int64(v) // as RabbitMQ reads it
	case float32:
		return float64(v)
	case wire.Timestamp:
		return time.Unix(int64(v), 0).UTC()
	case wire.Decimal:
		return decimalText(v)
	case []byte:
		return bytes.Clone(v)
	case []wire.Field:
		return plainFields(v)
	case []any:
		plain := make([]any, len(v))
		for i, e := range v {
			plain[i] = plainValue(e)
		}
		return plain
	}
	return v
}

func decimalText(d wire.Decimal) string {
	digits := fmt.Sprintf("%0*d", int(d.Scale)+1, d.Value)
	if d.Scale == 0 {
		return digits
	}
	point := len(digits) - int(d.Scale)
	return digits[:point] + "." + digits[point:]
}

// typeOf is the name that reply texts have for the type of an argument.
func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "longstr"
	case bool:
		return "bool"
	case int64:
		return "signedint"
	case float64:
		return "double"
	case time.Time:
		return "timestamp"
	case []any:
		return "array"
	case map[string]any:
		return "table"
	case []byte:
		return "binary"
	}
	return "void"
}

// reserved tells whether a name is one that only the server gives.
func reserved(name string) bool { return strings.HasPrefix(name, "amq.") }
