package amqp

import (
	"errors"
	"strconv"

	"github.com/tidegate/tidegate/core"
)

// coreReply is how a refusal of the engine is told to clients.
type coreReply struct {
	reason error
	code   uint16
	text   func(e *core.Error) string
}

// coreReplies is the one table from the engine's errors to reply codes.
// Methods for which the same refusal has another code handle it themselves.
var coreReplies = []coreReply{
	{core.ErrNotFound, codeNotFound, func(e *core.Error) string { return "no " + objectOf(e) }},
	{core.ErrInequivalent, codePreconditionFailed, inequivalentText},
	{core.ErrLocked, codeResourceLocked, lockedText},
	{core.ErrInUse, codePreconditionFailed, func(e *core.Error) string { return objectOf(e) + " in use" }},
	{core.ErrNotEmpty, codePreconditionFailed, func(e *core.Error) string { return objectOf(e) + " not empty" }},
	{core.ErrReserved, codeAccessRefused, reservedText},
	{core.ErrInvalid, codePreconditionFailed, invalidText},
	{core.ErrUnsupported, codeNotImplemented, detailText},
	{core.ErrUnavailable, codePreconditionFailed, func(*core.Error) string {
		return "metadata is not available now, try again later"
	}},
	{core.ErrStorage, codeInternalError, detailText},
	{core.ErrClosed, codeConnectionForced, func(*core.Error) string { return shutdownText }},
	{core.ErrFenced, codeInternalError, detailText},
	{core.ErrNotOwner, codeAccessRefused, detailText},
	{core.ErrTooLarge, codePreconditionFailed, detailText},
	{core.ErrLimit, codePreconditionFailed, limitText},
	{core.ErrFull, codePreconditionFailed, detailText},
	{core.ErrPressure, codeResourceError, detailText},
}

// replyTo turns an error of the engine into what the client is told. An error
// that is in no table is the server's own fault.
func replyTo(err error) *replyError {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*replyError](err); ok {
		return reply
	}
	detail, ok := errors.AsType[*core.Error](err)
	for _, r := range coreReplies {
		if !errors.Is(err, r.reason) {
			continue
		}
		if !ok {
			detail = &core.Error{Reason: r.reason}
		}
		return &replyError{code: r.code, text: r.text(detail), cause: err}
	}
	return &replyError{code: codeInternalError, cause: err}
}

func objectOf(e *core.Error) string { return object(e.Kind, e.Name, e.Namespace) }

func lockedText(e *core.Error) string {
	if e.Arg == argSingleActive {
		return "cannot obtain access to locked " + objectOf(e) + ". basic.get operations are not supported by " +
			e.Detail + " queues with single active consumer"
	}
	return "cannot obtain exclusive access to locked " + objectOf(e) +
		". It could be originally declared on another connection or the exclusive property value" +
		" does not match that of the original declaration."
}

func reservedText(e *core.Error) string {
	if e.Name == "" {
		return "operation not permitted on the default exchange"
	}
	return e.Kind + " name '" + e.Name + "' contains reserved prefix 'amq.*'"
}

func inequivalentText(e *core.Error) string {
	text := "inequivalent arg '" + e.Arg + "' for " + objectOf(e) + ": received "
	switch {
	case e.Got == "":
		return text + "none but current is the value '" + e.Current + "' of type '" + typeName(e.Current) + "'"
	case e.Current == "":
		return text + "the value '" + e.Got + "' of type '" + typeName(e.Got) + "' but current is none"
	}
	return text + "'" + e.Got + "' but current is '" + e.Current + "'"
}

// typeName guesses the type of an argument from its text.
func typeName(value string) string {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return "signedint"
	}
	if value == "true" || value == "false" {
		return "bool"
	}
	return "longstr"
}

func invalidText(e *core.Error) string {
	switch {
	case e.Kind == "binding" && e.Detail != "":
		return e.Detail // in RabbitMQ's words
	case e.Arg == "":
		return detailText(e)
	}
	text := "invalid arg '" + e.Arg + "' for " + objectOf(e)
	switch {
	case e.Detail != "":
		return text + ": " + e.Detail
	case e.Got != "":
		return text + ": '" + e.Got + "'"
	}
	return text
}

func limitText(e *core.Error) string {
	if e.Arg == "max-transaction" {
		return "transaction is larger than configured max size " + e.Current
	}
	if e.Arg == "max-delay" {
		return "the message is to be delivered later than configured max delay " + e.Current + " allows"
	}
	if e.Arg != "max-queues" {
		return detailText(e)
	}
	return "cannot declare queue '" + e.Name + "': queue limit in vhost '" + e.Namespace + "' (" + e.Current + ") is reached"
}

func detailText(e *core.Error) string {
	text := e.Reason.Error()
	if e.Kind != "" {
		text = objectOf(e) + ": " + text
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}
