package mqtt

import (
	"errors"
	"time"
)

// SetNow replaces the clock of the server, before it serves.
func (s *Server) SetNow(now func() time.Time) { s.now = now }

// Knows tells whether the table of refusals has the error.
func Knows(err error) bool {
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return true
		}
	}
	return false
}
