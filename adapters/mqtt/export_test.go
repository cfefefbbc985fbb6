package mqtt

import "errors"

// Knows tells whether the table of refusals has the error.
func Knows(err error) bool {
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return true
		}
	}
	return false
}
