package selector

import (
	"bytes"
	"unicode/utf8"
)

// likePart is a piece of a pattern: any number of characters, one character, or bytes
// that stand there.
type likePart struct {
	many  bool
	one   bool
	bytes []byte
}

// compileLike reads a pattern, where % is any number of characters and _ is one. A
// pattern whose escape character stands before anything else is refused.
func compileLike(pattern string, escape rune) (parts []likePart, ok bool) {
	escaped := false
	for _, r := range pattern {
		special := r == '%' || r == '_'
		switch {
		case escaped && !special && r != escape:
			return nil, false
		case !escaped && r == escape:
			escaped = true
			continue
		case !escaped && r == '%':
			if n := len(parts); n == 0 || !parts[n-1].many {
				parts = append(parts, likePart{many: true})
			}
			continue
		case !escaped && r == '_':
			parts = append(parts, likePart{one: true})
			continue
		}
		escaped = false
		if n := len(parts); n == 0 || parts[n-1].bytes == nil {
			parts = append(parts, likePart{})
		}
		last := &parts[len(parts)-1]
		last.bytes = utf8.AppendRune(last.bytes, r)
	}
	return parts, !escaped
}

// matchLike matches from the left. After a mismatch only the last % takes more, up to
// where what stands behind it comes again.
func matchLike(parts []likePart, text []byte) bool {
	part, retry := 0, -1
	var rest []byte // where the last % ended
	for {
		switch {
		case part < len(parts) && parts[part].many:
			part++
			retry, rest = part, text
			continue
		case part < len(parts) && parts[part].one && len(text) > 0:
			_, size := utf8.DecodeRune(text)
			text = text[size:]
			part++
			continue
		case part < len(parts) && parts[part].bytes != nil && bytes.HasPrefix(text, parts[part].bytes):
			text = text[len(parts[part].bytes):]
			part++
			continue
		case part == len(parts) && len(text) == 0:
			return true
		}
		if retry < 0 || len(rest) == 0 {
			return false
		}
		if retry == len(parts) {
			return true // ends with %
		}
		_, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		if start := parts[retry].bytes; start != nil {
			at := bytes.Index(rest, start)
			if at < 0 {
				return false
			}
			rest = rest[at:]
		}
		text, part = rest, retry
	}
}
