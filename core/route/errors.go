package route

import "errors"

// RefusedError is an ErrInvalid in words that are told to clients as they are.
type RefusedError string

func (r RefusedError) Error() string { return string(r) }

// Unwrap returns [ErrInvalid].
func (RefusedError) Unwrap() error { return ErrInvalid }

// What a call was refused for.
var (
	// ErrNotFound says that an exchange does not exist.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that a topic, filter, key, argument or type is not legal.
	ErrInvalid = errors.New("invalid")
)
