package core

import (
	"errors"
	"fmt"
)

// What an operation was refused for. Adapters map each to a code of their
// protocol; [Error] carries the details.
var (
	ErrNotFound     = errors.New("not found")                 // exchange, queue or namespace does not exist
	ErrInequivalent = errors.New("inequivalent argument")     // exists with other properties, see Error
	ErrLocked       = errors.New("locked")                    // exclusive queue of another connection
	ErrInUse        = errors.New("in use")                    // if-unused delete, or exclusive consumer present
	ErrNotEmpty     = errors.New("not empty")                 // if-empty delete
	ErrReserved     = errors.New("reserved name")             // amq.* or the default exchange
	ErrInvalid      = errors.New("invalid argument")          // bad value, see Error
	ErrUnsupported  = errors.New("not supported")             // known, but not in this version
	ErrUnavailable  = errors.New("metadata not available")    // etcd is away: nothing can be declared
	ErrStorage      = errors.New("storage failed")            // the shard stopped after a write or sync error
	ErrClosed       = errors.New("closed")                    // broker, consumer or session was closed
	ErrFenced       = errors.New("session taken over")        // another connection owns the session now
	ErrNotOwner     = errors.New("session has another owner") // same client id, other principal
	ErrTooLarge     = errors.New("message too large")         // over Config.MaxMessageSize
	ErrLimit        = errors.New("limit reached")             // a configured limit, see Error
	ErrFull         = errors.New("queue is full")             // and is declared to refuse what is too much
	ErrPressure     = errors.New("low on resources")          // disk or memory: try again when OnPressure says so
)

// Error is a refusal with the object that it is about. errors.Is finds the
// sentinel in Reason.
type Error struct {
	Reason    error  // one of the sentinels of this package
	Kind      string // "exchange", "queue", "orphan", "namespace", "binding", "session" or "subscription"
	Name      string
	Namespace string
	// For ErrInequivalent and ErrInvalid: the argument and what was found.
	Arg     string
	Got     string // value of the request, as text; "" when not given
	Current string // value of the existing object, as text; "" when absent
	Detail  string // further words, may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s '%s' in namespace '%s': %v", e.Kind, e.Name, e.Namespace, e.Reason)
	if e.Arg != "" {
		s += fmt.Sprintf(" '%s': got '%s', current '%s'", e.Arg, e.Got, e.Current)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Reason }
