package metadata

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that prints as "***" in every format and log; only JSON
// and a conversion to string give its value.
type Secret string

// hidden is what is shown of a secret.
const hidden = "***"

// Format hides the value from all verbs, %x and %q among them.
func (Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hidden) }

// String hides the value from %s and %v.
func (Secret) String() string { return hidden }

// GoString hides the value from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the value from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
