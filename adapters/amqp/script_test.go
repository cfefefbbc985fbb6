package amqp_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// The scripts in testdata are stories of frames, one line each:
//
//	> 1 queue.declare Queue=q Durable x-queue-type=quorum
//	< 1 queue.declare-ok Queue=q
//	> 1 content mode=2 expiration=100 body=hello
//	< eof
//
// ">" is sent by the client and "<" is what has to come from the server. A
// field without a value is true; fields that are zero are left out; a name in
// lower case is an argument. "login USER" goes through the handshake,
// "tuning" through its first half, "connect" opens a connection without it,
// "refused USER PASSWORD" logs in; "raw HEX" and "text TEXT" send bytes. A story begins with a new server.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for story := range strings.SplitSeq(string(text), "\n== ") {
			title, lines, _ := strings.Cut(story, "\n")
			title = strings.TrimPrefix(title, "== ")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+title, func(t *testing.T) {
				runScript(t, lines)
			})
		}
	}
}

func runScript(t *testing.T, lines string, options ...option) {
	h := newHarness(t, options...)
	var r *raw
	for line := range strings.SplitSeq(lines, "\n") {
		words := split(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		switch words[0] {
		case "connect":
			r = h.dial()
		case "login":
			r = h.dial()
			r.login(words[1])
		case "tuning":
			r = h.dial()
			r.write([]byte(wire.Protocol))
			expect[*wire.ConnectionStart](r)
			r.send(0, startOK("guest", "guest", "authentication_failure_close"))
		case "refused":
			r.send(0, startOK(words[1], words[2], "authentication_failure_close"))
		case "raw":
			b, err := hex.DecodeString(strings.Join(words[1:], ""))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			r.write(b)
		case "text":
			r.write([]byte(words[1]))
		case ">":
			r.write(encode(t, words[1:]))
		case "<":
			if words[1] == "eof" {
				r.expectEOF()
				continue
			}
			want := strings.Join(words[1:], " ")
			got := strings.ReplaceAll(r.describe(), `"`, "'")
			if diff := cmp.Diff(want, strings.Join(split(got), " ")); diff != "" {
				t.Fatalf("%s\nwant (-), got (+):\n%s", line, diff)
			}
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
}

// split cuts a line at spaces that are not between double quotes, and removes
// the quotes.
func split(line string) []string {
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

var sendable = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, m := range []wire.Method{
		&wire.ConnectionStartOK{}, &wire.ConnectionTuneOK{}, &wire.ConnectionOpen{}, &wire.ConnectionClose{},
		&wire.ConnectionCloseOK{}, &wire.ConnectionSecureOK{}, &wire.ConnectionUpdateSecret{},
		&wire.ChannelOpen{}, &wire.ChannelClose{}, &wire.ChannelCloseOK{}, &wire.ChannelFlow{}, &wire.AccessRequest{},
		&wire.ExchangeDeclare{}, &wire.ExchangeDelete{}, &wire.ExchangeBind{}, &wire.ExchangeUnbind{},
		&wire.QueueDeclare{}, &wire.QueueDelete{}, &wire.QueueBind{}, &wire.QueueUnbind{}, &wire.QueuePurge{},
		&wire.BasicQos{}, &wire.BasicConsume{}, &wire.BasicCancel{}, &wire.BasicCancelOK{}, &wire.BasicPublish{}, &wire.BasicGet{},
		&wire.BasicAck{}, &wire.BasicNack{}, &wire.BasicReject{}, &wire.BasicRecover{}, &wire.BasicRecoverAsync{},
		&wire.BasicDeliver{}, &wire.ConfirmSelect{}, &wire.TxSelect{}, &wire.TxCommit{}, &wire.TxRollback{},
	} {
		types[m.ID().String()] = reflect.TypeOf(m).Elem()
	}
	return types
}()

// encode makes the frame of a line.
func encode(t testing.TB, words []string) []byte {
	t.Helper()
	n, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		t.Fatalf("channel of %q: %v", words, err)
	}
	channel := uint16(n)
	switch words[1] {
	case "content":
		p, body := contentOf(t, words[2:])
		return wire.AppendContent(nil, channel, 0, p.Append(nil), body)
	case "body":
		return wire.AppendFrame(nil, wire.FrameBody, channel, []byte(strings.Join(words[2:], " ")))
	case "header", "heartbeat", "method":
		typ := map[string]byte{"header": wire.FrameHeader, "heartbeat": wire.FrameHeartbeat, "method": wire.FrameMethod}
		b, err := hex.DecodeString(strings.Join(words[2:], ""))
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		return wire.AppendFrame(nil, typ[words[1]], channel, b)
	}
	typ, ok := sendable[words[1]]
	if !ok {
		t.Fatalf("unknown method %q", words[1])
	}
	v := reflect.New(typ)
	var arguments []wire.Field
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		if f := v.Elem().FieldByName(name); f.IsValid() && name[0] < 'a' {
			setField(t, f, value)
			continue
		}
		arguments = append(arguments, wire.Field{Name: name, Value: argument(value)})
	}
	if len(arguments) > 0 {
		v.Elem().FieldByName("Arguments").Set(reflect.ValueOf(wire.EncodeTable(arguments)))
	}
	m, _ := reflect.TypeAssert[wire.Method](v)
	return wire.AppendMethod(nil, channel, m)
}

func setField(t testing.TB, f reflect.Value, value string) {
	t.Helper()
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
			t.Fatalf("number %q: %v", value, err)
		}
		f.SetUint(n)
	}
}

// argument is an integer or a boolean if it looks like one, an array if it is in
// brackets, with commas between its elements, else a string.
func argument(value string) any {
	if list, ok := strings.CutPrefix(value, "["); ok {
		var elements []any
		for e := range strings.SplitSeq(strings.TrimSuffix(list, "]"), ",") {
			elements = append(elements, argument(e))
		}
		return elements
	}
	if n, err := strconv.ParseInt(value, 10, 32); err == nil {
		return int32(n)
	}
	if b, err := strconv.ParseBool(value); err == nil {
		return b
	}
	return value
}

func contentOf(t testing.TB, words []string) (p wire.Properties, body []byte) {
	t.Helper()
	var headers []wire.Field
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "body":
			body = []byte(value)
		case "mode":
			p.Flags |= wire.FlagDeliveryMode
			p.DeliveryMode = value[0] - '0'
		case "priority":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				t.Fatal(err)
			}
			p.Flags |= wire.FlagPriority
			p.Priority = uint8(n)
		case "expiration":
			p.Flags |= wire.FlagExpiration
			p.Expiration = []byte(value)
		case "user":
			p.Flags |= wire.FlagUserID
			p.UserID = []byte(value)
		case "type":
			p.Flags |= wire.FlagContentType
			p.ContentType = []byte(value)
		case "reply":
			p.Flags |= wire.FlagReplyTo
			p.ReplyTo = []byte(value)
		default:
			p.Flags |= wire.FlagHeaders
			headers = append(headers, wire.Field{Name: name, Value: argument(value)})
		}
	}
	if headers != nil {
		p.Headers = wire.EncodeTable(headers)
	}
	return p, body
}

// describe reads a frame and returns it as a line. Random names become "...".
func (r *raw) describe() string {
	r.t.Helper()
	f, err := r.read()
	if err != nil {
		return "error " + err.Error()
	}
	line := strconv.Itoa(int(f.Channel)) + " "
	switch f.Type {
	case wire.FrameHeader:
		h, err := wire.ParseHeader(f.Payload)
		if err != nil {
			r.t.Fatalf("header: %v", err)
		}
		return line + describeHeader(r.t, h)
	case wire.FrameBody:
		return line + "body " + string(f.Payload)
	}
	id, args, err := wire.SplitMethod(f.Payload)
	if err != nil {
		r.t.Fatalf("split: %v", err)
	}
	m, err := wire.ParseMethod(id, args)
	if err != nil {
		r.t.Fatalf("parse: %v", err)
	}
	var words strings.Builder
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() || !v.Type().Field(i).IsExported() {
			continue
		}
		value := f.Interface()
		switch text := value.(type) {
		case bool:
			words.WriteString(" " + v.Type().Field(i).Name)
			continue
		case wire.Table:
			value = "..."
		case []byte:
			if value = string(text); len(text) == 0 {
				continue
			}
		case string:
			for _, prefix := range []string{"amq.gen-", "amq.ctag-"} {
				if strings.HasPrefix(text, prefix) && len(text) == len(prefix)+22 {
					value = prefix + "..."
				}
			}
		}
		fmt.Fprintf(&words, " %s=%v", v.Type().Field(i).Name, value)
	}
	return line + id.String() + words.String()
}

func describeHeader(t testing.TB, h wire.Header) string {
	t.Helper()
	line := fmt.Sprintf("header size=%d", h.BodySize)
	var p wire.Properties
	if err := p.Parse(h.Properties); err != nil {
		t.Fatalf("properties: %v", err)
	}
	if p.Has(wire.FlagContentType) {
		line += " type=" + string(p.ContentType)
	}
	if p.Has(wire.FlagDeliveryMode) {
		line += " mode=" + strconv.Itoa(int(p.DeliveryMode))
	}
	if p.Has(wire.FlagPriority) {
		line += " priority=" + strconv.Itoa(int(p.Priority))
	}
	if p.Has(wire.FlagExpiration) {
		line += " expiration=" + string(p.Expiration)
	}
	fields, err := p.Headers.Fields()
	if err != nil {
		t.Fatalf("headers: %v", err)
	}
	var words strings.Builder
	for _, f := range fields {
		if f.Name == "x-scheduled-at" {
			f.Value = "..." // a time
		}
		fmt.Fprintf(&words, " %s=%v", f.Name, f.Value)
	}
	return line + words.String()
}
