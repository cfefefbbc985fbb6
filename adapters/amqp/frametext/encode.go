package frametext

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// ErrSyntax is a line that can't be read.
var ErrSyntax = errors.New("malformed line")

// sendable are the methods that lines may name.
var sendable = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, m := range []wire.Method{
		&wire.ConnectionStartOK{}, &wire.ConnectionTuneOK{}, &wire.ConnectionOpen{}, &wire.ConnectionClose{},
		&wire.ConnectionCloseOK{}, &wire.ConnectionSecureOK{}, &wire.ConnectionUpdateSecret{},
		&wire.ChannelOpen{}, &wire.ChannelClose{}, &wire.ChannelCloseOK{}, &wire.ChannelFlow{}, &wire.AccessRequest{},
		&wire.ExchangeDeclare{}, &wire.ExchangeDelete{}, &wire.ExchangeBind{}, &wire.ExchangeUnbind{},
		&wire.QueueDeclare{}, &wire.QueueDelete{}, &wire.QueueBind{}, &wire.QueueUnbind{}, &wire.QueuePurge{},
		&wire.BasicQos{}, &wire.BasicConsume{}, &wire.BasicCancel{}, &wire.BasicPublish{}, &wire.BasicGet{},
		&wire.BasicAck{}, &wire.BasicNack{}, &wire.BasicReject{}, &wire.BasicRecover{}, &wire.BasicRecoverAsync{},
		&wire.BasicDeliver{}, &wire.ConfirmSelect{}, &wire.TxSelect{}, &wire.TxCommit{}, &wire.TxRollback{},
	} {
		types[m.ID().String()] = reflect.TypeOf(m).Elem()
	}
	return types
}()

// Split cuts a line at the spaces that are not between double quotes, and removes
// the quotes.
func Split(line string) []string {
	var words []string
	var word strings.Builder
	quoted, some := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, some = !quoted, true
		case r == ' ' && !quoted:
			if some {
				words = append(words, word.String())
			}
			word.Reset()
			some = false
		default:
			word.WriteRune(r)
			some = true
		}
	}
	if some {
		words = append(words, word.String())
	}
	return words
}

// Encode makes the frames of a line that Split has cut. Beside methods a line may
// be "content" with properties, headers and body; "body" with text; or "header",
// "heartbeat" or "method" with the payload in hexadecimal digits.
func Encode(words []string) ([]byte, error) {
	if len(words) < 2 {
		return nil, fmt.Errorf("%w: %q", ErrSyntax, words)
	}
	n, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: channel of %q", ErrSyntax, words)
	}
	channel := uint16(n)
	switch words[1] {
	case "content":
		p, body, err := contentOf(words[2:])
		if err != nil {
			return nil, err
		}
		return wire.AppendContent(nil, channel, 0, p.Append(nil), body), nil
	case "body":
		return wire.AppendFrame(nil, wire.FrameBody, channel, []byte(strings.Join(words[2:], " "))), nil
	case "header", "heartbeat", "method":
		typ := map[string]byte{"header": wire.FrameHeader, "heartbeat": wire.FrameHeartbeat, "method": wire.FrameMethod}
		b, err := hex.DecodeString(strings.Join(words[2:], ""))
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrSyntax, words, err)
		}
		return wire.AppendFrame(nil, typ[words[1]], channel, b), nil
	}
	m, err := methodOf(words[1], words[2:])
	if err != nil {
		return nil, err
	}
	return wire.AppendMethod(nil, channel, m), nil
}

func methodOf(name string, words []string) (wire.Method, error) {
	typ, ok := sendable[name]
	if !ok {
		return nil, fmt.Errorf("%w: unknown method %q", ErrSyntax, name)
	}
	v := reflect.New(typ)
	var arguments []wire.Field
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if f := v.Elem().FieldByName(name); f.IsValid() && name != "Arguments" {
			if err := setField(f, value); err != nil {
				return nil, err
			}
			continue
		}
		field, err := parseField(word)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, field)
	}
	if len(arguments) > 0 {
		f := v.Elem().FieldByName("Arguments")
		if !f.IsValid() {
			return nil, fmt.Errorf("%w: %s has no field %q", ErrSyntax, name, arguments[0].Name)
		}
		f.Set(reflect.ValueOf(wire.EncodeTable(arguments)))
	}
	m, ok := reflect.TypeAssert[wire.Method](v)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no method", ErrSyntax, name)
	}
	return m, nil
}

func setField(f reflect.Value, value string) error {
	switch f.Kind() {
	case reflect.Bool:
		f.SetBool(value != "false")
	case reflect.String:
		f.SetString(value)
	case reflect.Slice:
		f.SetBytes([]byte(strings.ReplaceAll(value, `\0`, "\x00")))
	default:
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: number %q", ErrSyntax, value)
		}
		f.SetUint(n)
	}
	return nil
}
