package amqp

import (
	"fmt"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// The reply codes that the server uses.
const (
	codeNoRoute            = 312
	codeAccessRefused      = 403
	codeNotFound           = 404
	codeResourceLocked     = 405
	codePreconditionFailed = 406
	codeConnectionForced   = 320
	codeFrameError         = 501
	codeSyntaxError        = 502
	codeCommandInvalid     = 503
	codeChannelError       = 504
	codeUnexpectedFrame    = 505
	codeResourceError      = 506
	codeNotAllowed         = 530
	codeNotImplemented     = 540
	codeInternalError      = 541
)

var codeNames = map[uint16]string{
	codeNoRoute:            "NO_ROUTE",
	codeAccessRefused:      "ACCESS_REFUSED",
	codeNotFound:           "NOT_FOUND",
	codeResourceLocked:     "RESOURCE_LOCKED",
	codePreconditionFailed: "PRECONDITION_FAILED",
	codeConnectionForced:   "CONNECTION_FORCED",
	codeFrameError:         "FRAME_ERROR",
	codeSyntaxError:        "SYNTAX_ERROR",
	codeCommandInvalid:     "COMMAND_INVALID",
	codeChannelError:       "CHANNEL_ERROR",
	codeUnexpectedFrame:    "UNEXPECTED_FRAME",
	codeResourceError:      "RESOURCE_ERROR",
	codeNotAllowed:         "NOT_ALLOWED",
	codeNotImplemented:     "NOT_IMPLEMENTED",
	codeInternalError:      "INTERNAL_ERROR",
}

// replyError is a refusal as the client is told of it: by a channel.close, or
// by a connection.close when the code is a hard one.
type replyError struct {
	code   uint16
	text   string
	method wire.MethodID // the method that failed, 0 when none did
	cause  error         // for the log, may be nil
}

func (e *replyError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%d %s: %v", e.code, e.replyText(), e.cause)
	}
	return fmt.Sprintf("%d %s", e.code, e.replyText())
}

func (e *replyError) Unwrap() error { return e.cause }

// hard tells whether the whole connection has to go.
func (e *replyError) hard() bool {
	switch e.code {
	case codeAccessRefused, codeNotFound, codeResourceLocked, codePreconditionFailed, codeNoRoute:
		return false
	}
	return true
}

// replyText is the text with the code's name in front, as clients match it.
func (e *replyError) replyText() string {
	name := codeNames[e.code]
	if e.code == codeInternalError {
		return name
	}
	return name + " - " + e.text
}

func refuse(code uint16, format string, args ...any) *replyError {
	return &replyError{code: code, text: fmt.Sprintf(format, args...)}
}

// object names a queue or an exchange the way reply texts do.
func object(kind, name, namespace string) string {
	return kind + " '" + name + "' in vhost '" + namespace + "'"
}
