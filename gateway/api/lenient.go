package api

import (
	"encoding/json"
	"strconv"
)

// truth is a boolean that may also be written as a string, as rabbitmqadmin does.
type truth bool

// UnmarshalJSON reads true, false, "true" and "false".
func (t *truth) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case `"true"`:
		*t = true
		return nil
	case `"false"`:
		*t = false
		return nil
	}
	return json.Unmarshal(text, (*bool)(t))
}

// integer is an integer that may also be written as a string, as rabbitmqadmin does.
type integer int

// UnmarshalJSON reads 5 and "5".
func (n *integer) UnmarshalJSON(text []byte) error {
	var written string
	if json.Unmarshal(text, &written) == nil {
		if i, err := strconv.Atoi(written); err == nil {
			*n = integer(i)
			return nil
		}
	}
	return json.Unmarshal(text, (*int)(n))
}
