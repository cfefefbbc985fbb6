package selector

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenKeyword
	tokenText
	tokenInt
	tokenFloat
	tokenSign // operators, parentheses, comma
)

// token is a word of a selector. text is the name, the keyword in capitals, the text
// without quotes, or the sign.
type token struct {
	kind   tokenKind
	text   string
	number Value
	at     int // byte where it begins
}

func (t *token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenText:
		return "'" + t.text + "'"
	default:
		return strconv.Quote(t.text)
	}
}

var keywords = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "BETWEEN": true, "IN": true, "LIKE": true,
	"ESCAPE": true, "IS": true, "NULL": true, "TRUE": true, "FALSE": true,
}

// lexer cuts a selector into tokens.
type lexer struct {
	text string
	at   int
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n\f", l.text[l.at]) >= 0 {
		l.at++
	}
	if l.at == len(l.text) {
		return token{kind: tokenEnd, at: l.at}, nil
	}
	c, rest := l.text[l.at], l.text[l.at:]
	switch {
	case c == '\'':
		return l.quoted('\'', tokenText)
	case c == '"':
		return l.quoted('"', tokenName)
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.numeral()
	}
	for _, sign := range []string{"<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "(", ")", ","} {
		if strings.HasPrefix(rest, sign) {
			l.at += len(sign)
			return token{kind: tokenSign, text: sign, at: l.at - len(sign)}, nil
		}
	}
	return l.word()
}

// quoted reads text in quotes; a quote inside is written twice.
func (l *lexer) quoted(quote byte, kind tokenKind) (token, error) {
	start := l.at
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		if l.text[l.at] != quote {
			b.WriteByte(l.text[l.at])
			continue
		}
		if l.at+1 < len(l.text) && l.text[l.at+1] == quote {
			b.WriteByte(quote)
			l.at++
			continue
		}
		l.at++
		if kind == tokenName && b.Len() == 0 {
			return token{}, &Error{At: start, Reason: "a name in quotes is empty"}
		}
		return token{kind: kind, text: b.String(), at: start}, nil
	}
	return token{}, &Error{At: start, Reason: fmt.Sprintf("%c is not closed", quote)}
}

func (l *lexer) numeral() (token, error) {
	start, float := l.at, false
	for l.at < len(l.text) {
		c := l.text[l.at]
		exponent := (c == 'e' || c == 'E') && l.at+1 < len(l.text) &&
			(isDigit(l.text[l.at+1]) || l.at+2 < len(l.text) && strings.IndexByte("+-", l.text[l.at+1]) >= 0 && isDigit(l.text[l.at+2]))
		switch {
		case exponent:
			float = true
			l.at++ // the sign or digit behind it is taken with it
		case c == '.':
			float = true
		case !isDigit(c):
			return l.number(start, float)
		}
		l.at++
	}
	return l.number(start, float)
}

func (l *lexer) number(start int, float bool) (token, error) {
	text := l.text[start:l.at]
	t := token{kind: tokenInt, text: text, at: start}
	if r, _ := utf8.DecodeRuneInString(l.text[l.at:]); l.at < len(l.text) && isNamePart(r) {
		return token{}, &Error{At: start, Reason: fmt.Sprintf("%q is neither a number nor a name", text+string(r))}
	}
	var err error
	if float {
		t.kind = tokenFloat
		t.number.Kind = Float
		t.number.Float, err = strconv.ParseFloat(text, 64)
	} else {
		t.number.Kind = Int
		t.number.Int, err = strconv.ParseInt(text, 10, 64)
	}
	if err != nil {
		return token{}, &Error{At: start, Reason: fmt.Sprintf("%q is no number of 64 bits", text)}
	}
	return t, nil
}

func (l *lexer) word() (token, error) {
	start := l.at
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if !isNamePart(r) {
			// A hyphen belongs to a name like x-tag, where it could be a minus too.
			if r != '-' || l.at == start || l.at+1 == len(l.text) || !isNamePart(rune(l.text[l.at+1])) {
				break
			}
		}
		l.at += size
	}
	text := l.text[start:l.at]
	if text == "" {
		r, _ := utf8.DecodeRuneInString(l.text[start:])
		return token{}, &Error{At: start, Reason: fmt.Sprintf("%q has no meaning here", r)}
	}
	if upper := strings.ToUpper(text); keywords[upper] {
		return token{kind: tokenKeyword, text: upper, at: start}, nil
	}
	return token{kind: tokenName, text: text, at: start}, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNamePart(r rune) bool {
	return r == '_' || r == '$' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r)
}
