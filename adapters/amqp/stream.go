package amqp

import (
	"encoding/binary"
	"log/slog"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// headerOffset is the header that tells a delivery's offset in its stream, and
// the consumer argument that says where to begin.
const headerOffset = "x-stream-offset"

// argumentGroup is the consumer argument that names a consumer group.
const argumentGroup = "x-consumer-group"

// checkStreamArguments refuses what a stream queue can't be, and leaves in spec
// the arguments that are part of the declaration.
func checkStreamArguments(spec *core.QueueSpec, queue string) error {
	for name, value := range spec.Args {
		rule, known := queueArguments[name]
		switch {
		case name == "x-queue-type" || rule == kept && known:
		case name == "x-max-length-bytes" || rule == streamOnly:
			if size, ok := value.(int64); ok && name == "x-stream-filter-size-bytes" && (size < 16 || size > 255) {
				return refuse(codePreconditionFailed, "Invalid value for %s", name)
			}
			if reason := badStreamArgument(name, value); reason != "" {
				return refuse(codePreconditionFailed, "invalid arg '%s' for %s: %s", name, queue, reason)
			}
		case !known || rule == ignored: // told back, and nothing else
		default:
			return refuse(codePreconditionFailed, "invalid arg '%s' for %s of queue type rabbit_stream_queue", name, queue)
		}
	}
	return checkReplicated(spec, "stream", queue)
}

// badStreamArgument tells what is wrong with the value of an argument, as
// RabbitMQ does; what it leaves is the engine's to check.
func badStreamArgument(name string, value any) string {
	switch name {
	case "x-max-age":
		age, ok := value.(string)
		if !ok {
			return "{unacceptable_type," + typeOf(value) + "}"
		}
		if _, ok := core.ParseAge(age); !ok {
			return "invalid_max_age"
		}
	case "x-max-length-bytes", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes":
		n, ok := value.(int64)
		switch {
		case !ok:
			return `"expected integer, got ` + typeOf(value) + `"`
		case n < 0:
			return "{value_negative," + strconv.FormatInt(n, 10) + "}"
		case n == 0:
			return "{value_zero,0}"
		}
	}
	return ""
}

// reading is how a consumer reads a stream queue.
type reading struct {
	is    bool // the queue is a stream queue
	group string
	start core.Start
	match func(*core.Message) bool // nil: everything
}

// streamReading checks what holds for consumers of stream queues alone: they
// need a prefetch limit of their own and acknowledge.
func (ch *channel) streamReading(queue string, m *wire.BasicConsume, args map[string]any) (reading, error) {
	status, err := ch.broker().CheckQueue(ch.c.namespace, queue, ch.c.conn.ID)
	if err != nil {
		return reading{}, err
	}
	what := object("queue", queue, ch.c.namespace)
	if !status.Stream {
		for _, name := range []string{headerOffset, argumentGroup, argFilter, argUnfiltered} {
			if _, given := args[name]; given {
				return reading{}, refuse(codePreconditionFailed,
					"invalid arg '%s' for %s of queue type rabbit_classic_queue", name, what)
			}
		}
		for _, name := range []string{argSelector, argTag} {
			if _, given := args[name]; given {
				return reading{}, refuse(codeNotImplemented,
					"consumer argument '%s' is supported on stream queues only, and not for %s", name, what)
			}
		}
		return reading{}, nil
	}
	switch {
	case m.NoAck:
		return reading{}, refuse(codeNotImplemented, "automatic acknowledgement not supported by stream %s", what)
	case ch.globalPrefetch > 0:
		return reading{}, refuse(codeNotImplemented, "%s does not support global qos", what)
	case ch.prefetch == 0:
		return reading{}, refuse(codePreconditionFailed, "consumer prefetch count is not set for stream %s", what)
	}
	r := reading{is: true}
	if r.match, err = readSelection(args, what, ch.broker().Decode); err != nil {
		return reading{}, err
	}
	if value, given := args[argumentGroup]; given {
		var ok bool
		if r.group, ok = value.(string); !ok || r.group == "" {
			return reading{}, refuse(codePreconditionFailed, "invalid arg '%s' for %s: \"expected a name, got %s\"",
				argumentGroup, what, typeOf(value))
		}
	}
	if value, given := args[headerOffset]; given {
		if value == "last-per-key" {
			return reading{}, refuse(codeNotImplemented, "%s 'last-per-key' is not supported in this version", headerOffset)
		}
		var ok bool
		if r.start, ok = streamStart(value, ch.c.out.clock.Now()); !ok {
			return reading{}, refuse(codePreconditionFailed, "invalid arg '%s' for %s: '%v'", headerOffset, what, value)
		}
	}
	return r, nil
}

// streamStart reads x-stream-offset: a word, an offset, a time, or an age.
func streamStart(value any, now time.Time) (core.Start, bool) {
	switch value := value.(type) {
	case int64:
		return core.StartOffset(core.Offset(value)), value >= 0
	case time.Time:
		return core.StartTime(value), true
	case string:
		switch value {
		case "first":
			return core.StartFirst(), true
		case "last":
			return core.StartLast(), true
		case "next":
			return core.StartNext(), true
		}
		age, ok := core.ParseAge(value)
		return core.StartTime(now.Add(-age)), ok
	}
	return core.Start{}, false
}

// stamp adds a number to the headers of a delivery: its offset, or how often it came
// back. The result is valid until the next call. The output's lock is held.
func (c *connection) stamp(properties []byte, name string, value uint64) []byte {
	var p wire.Properties
	if err := p.Parse(properties); err != nil {
		c.log.Warn("header of a delivery left out", slog.String("header", name), slog.Any("error", err))
		return properties
	}
	buf := appendNumber(c.out.stamped[:0], p.Headers, name, value)
	end := len(buf)
	p.Flags |= wire.FlagHeaders
	p.Headers = wire.Table(buf[:end:end])
	c.out.stamped = p.Append(buf)
	return c.out.stamped[end:]
}

// appendNumber appends the fields of a table and a number. One that the publisher
// set, as who publishes again what it received may do, is left out.
func appendNumber(dst []byte, t wire.Table, name string, value uint64) []byte {
	dst = append(dst, byte(len(name)))
	dst = append(dst, name...)
	dst = append(dst, 'l')
	dst = binary.BigEndian.AppendUint64(dst, value)
	if !hasField(t, name) {
		return append(dst, t...)
	}
	fields, err := t.Fields()
	if err != nil {
		return append(dst, t...) // of repeated names the first counts
	}
	for i := range fields {
		if fields[i].Name != name {
			dst = append(dst, wire.EncodeTable(fields[i:i+1])...)
		}
	}
	return dst
}

func hasField(t wire.Table, name string) bool {
	it := t.Iter()
	for it.Next() {
		if string(it.Name()) == name {
			return true
		}
	}
	return false
}
