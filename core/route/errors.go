package route

import "errors"

// What a call was refused for.
var (
	// ErrNotFound says that an exchange does not exist.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that a topic, filter, key, argument or type is not legal.
	ErrInvalid = errors.New("invalid")
)
