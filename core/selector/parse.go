package selector

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a selector, so that what a client sends costs little to read and to
// evaluate.
const (
	MaxBytes = 8 << 10
	maxDepth = 64
	maxNodes = 1024
	// maxPattern bounds a pattern in bytes: a text may be looked at as often.
	maxPattern = 256
	// maxFields bounds how often the payload is searched for a field.
	maxFields = 32
	// maxPayload bounds the payload of which fields are read; a larger one has none.
	maxPayload = 1 << 20
)

// Error tells what is wrong with a selector, and where.
type Error struct {
	At     int // byte of the selector, from 0
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("selector: at %d: %s", e.At+1, e.Reason) }

// Selector is a condition on messages.
type Selector struct {
	text string
	root *node
}

// Parse reads a selector. The error is an *Error.
func Parse(text string) (*Selector, error) {
	switch {
	case len(text) > MaxBytes:
		return nil, &Error{Reason: fmt.Sprintf("it has %d bytes of %d at most", len(text), MaxBytes)}
	case !utf8.ValidString(text):
		return nil, &Error{Reason: "it is no UTF-8"}
	}
	p := parser{lexer: lexer{text: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.token.kind != tokenEnd {
		return nil, p.unexpected("AND, OR or the end")
	}
	if !root.isCondition() {
		return nil, &Error{Reason: "it is a value, not a condition"}
	}
	return &Selector{text: text, root: root}, nil
}

// String returns the selector as it was written.
func (s *Selector) String() string { return s.text }

// parser reads by descent, one method for each level of precedence.
type parser struct {
	lexer  lexer
	token  token
	depth  int
	nodes  int
	fields int // of the payload
}

func (p *parser) advance() (err error) {
	p.token, err = p.lexer.next()
	return err
}

func (p *parser) unexpected(want string) error {
	return &Error{At: p.token.at, Reason: fmt.Sprintf("%s where %s was expected", &p.token, want)}
}

// take goes on if the token is a keyword or sign.
func (p *parser) take(text string) (bool, error) {
	if (p.token.kind != tokenKeyword && p.token.kind != tokenSign) || p.token.text != text {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) need(text string) error {
	ok, err := p.take(text)
	if err == nil && !ok {
		err = p.unexpected(text)
	}
	return err
}

func (p *parser) node(n node) (*node, error) {
	if p.nodes++; p.nodes > maxNodes {
		return nil, &Error{At: p.token.at, Reason: fmt.Sprintf("it has more than %d parts", maxNodes)}
	}
	return &n, nil
}

func (p *parser) or() (*node, error) { return p.chain("OR", opOr, p.and) }

func (p *parser) and() (*node, error) { return p.chain("AND", opAnd, p.not) }

// chain reads operands of one logical operator.
func (p *parser) chain(word string, op op, operand func() (*node, error)) (*node, error) {
	left, err := operand()
	for err == nil {
		var more bool
		if more, err = p.take(word); err != nil || !more {
			break
		}
		if !left.isCondition() {
			return nil, &Error{At: p.token.at, Reason: word + " joins conditions, and a value stands before it"}
		}
		at := p.token.at
		var right *node
		if right, err = operand(); err != nil {
			break
		}
		if !right.isCondition() {
			return nil, &Error{At: at, Reason: word + " joins conditions, and a value stands behind it"}
		}
		left, err = p.node(node{op: op, left: left, right: right})
	}
	return left, err
}

// deeper reads an operand one level down, so that recursion is bounded.
func (p *parser) deeper(operand func() (*node, error)) (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &Error{At: p.token.at, Reason: fmt.Sprintf("it is nested more than %d deep", maxDepth)}
	}
	defer func() { p.depth-- }()
	return operand()
}

func (p *parser) not() (*node, error) {
	at := p.token.at
	negated, err := p.take("NOT")
	if err != nil {
		return nil, err
	}
	if !negated {
		return p.comparison()
	}
	of, err := p.deeper(p.not)
	if err != nil {
		return nil, err
	}
	if !of.isCondition() {
		return nil, &Error{At: at, Reason: "NOT stands before a value"}
	}
	return p.node(node{op: opNot, left: of})
}

var comparisons = map[string]op{"=": opEqual, "<>": opUnequal, "<": opLess, "<=": opAtMost, ">": opGreater, ">=": opAtLeast}

func (p *parser) comparison() (*node, error) {
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	if op, ok := comparisons[p.token.text]; ok && p.token.kind == tokenSign {
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		return p.node(node{op: op, left: left, right: right})
	}
	if is, err := p.take("IS"); err != nil || is {
		if err != nil {
			return nil, err
		}
		return p.isNull(left)
	}
	negated, err := p.take("NOT")
	if err != nil {
		return nil, err
	}
	n, err := p.predicate(left)
	switch {
	case err != nil:
		return nil, err
	case n == nil && negated:
		return nil, p.unexpected("BETWEEN, IN or LIKE")
	case n == nil:
		return left, nil
	case negated:
		return p.node(node{op: opNot, left: n})
	}
	return n, nil
}

func (p *parser) isNull(left *node) (*node, error) {
	negated, err := p.take("NOT")
	if err != nil {
		return nil, err
	}
	if err := p.need("NULL"); err != nil {
		return nil, err
	}
	n, err := p.node(node{op: opIsNull, left: left})
	if err == nil && negated {
		return p.node(node{op: opNot, left: n})
	}
	return n, err
}

// predicate reads what may stand behind a value, or NOT; nil if none does.
func (p *parser) predicate(left *node) (*node, error) {
	if p.token.kind != tokenKeyword {
		return nil, nil
	}
	word := p.token.text
	if word != "BETWEEN" && word != "IN" && word != "LIKE" {
		return nil, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch word {
	case "BETWEEN":
		return p.between(left)
	case "IN":
		return p.in(left)
	}
	return p.like(left)
}

func (p *parser) between(left *node) (*node, error) {
	low, err := p.sum()
	if err != nil {
		return nil, err
	}
	if err := p.need("AND"); err != nil {
		return nil, err
	}
	high, err := p.sum()
	if err != nil {
		return nil, err
	}
	atLeast, err := p.node(node{op: opAtLeast, left: left, right: low})
	if err != nil {
		return nil, err
	}
	atMost, err := p.node(node{op: opAtMost, left: left, right: high})
	if err != nil {
		return nil, err
	}
	return p.node(node{op: opAnd, left: atLeast, right: atMost})
}

func (p *parser) in(left *node) (*node, error) {
	if err := p.need("("); err != nil {
		return nil, err
	}
	n := node{op: opIn, left: left}
	for {
		entry, err := p.sum()
		if err != nil {
			return nil, err
		}
		if entry.op != opLiteral {
			return nil, &Error{At: p.token.at, Reason: "IN lists texts and numbers only"}
		}
		n.list = append(n.list, entry.value)
		if more, err := p.take(","); err != nil || !more {
			if err != nil {
				return nil, err
			}
			break
		}
	}
	if err := p.need(")"); err != nil {
		return nil, err
	}
	return p.node(n)
}

func (p *parser) like(left *node) (*node, error) {
	at := p.token.at
	pattern, err := p.text("a pattern in quotes")
	if err != nil {
		return nil, err
	}
	if len(pattern) > maxPattern {
		return nil, &Error{At: at, Reason: fmt.Sprintf("a pattern has more than %d bytes", maxPattern)}
	}
	escaping, err := p.take("ESCAPE")
	if err != nil {
		return nil, err
	}
	escape := rune(-1)
	if escaping {
		at := p.token.at
		text, err := p.text("one character in quotes")
		if err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(text) != 1 {
			return nil, &Error{At: at, Reason: "ESCAPE takes one character"}
		}
		escape, _ = utf8.DecodeRuneInString(text)
	}
	parts, ok := compileLike(pattern, escape)
	if !ok {
		return nil, &Error{At: p.token.at, Reason: "the escape character stands before neither % nor _ nor itself"}
	}
	return p.node(node{op: opLike, left: left, like: parts})
}

func (p *parser) text(want string) (string, error) {
	if p.token.kind != tokenText {
		return "", p.unexpected(want)
	}
	text := p.token.text
	return text, p.advance()
}

func (p *parser) sum() (*node, error) {
	return p.arithmetic(map[string]op{"+": opAdd, "-": opSubtract}, p.product)
}

func (p *parser) product() (*node, error) {
	return p.arithmetic(map[string]op{"*": opMultiply, "/": opDivide}, p.signed)
}

func (p *parser) arithmetic(ops map[string]op, operand func() (*node, error)) (*node, error) {
	left, err := operand()
	for err == nil && p.token.kind == tokenSign {
		op, ok := ops[p.token.text]
		if !ok {
			break
		}
		if err = p.advance(); err != nil {
			break
		}
		var right *node
		if right, err = operand(); err == nil {
			left, err = p.node(node{op: op, left: left, right: right})
		}
	}
	return left, err
}

// signed reads a sign and an operand. The sign of a number becomes part of it.
func (p *parser) signed() (*node, error) {
	for _, sign := range []string{"-", "+"} {
		ok, err := p.take(sign)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		of, err := p.deeper(p.signed)
		switch {
		case err != nil:
			return nil, err
		case sign == "+":
			return of, nil
		case of.op == opLiteral && (of.value.Kind == Int || of.value.Kind == Float):
			of.value.Int, of.value.Float = -of.value.Int, -of.value.Float
			return of, nil
		}
		return p.node(node{op: opNegate, left: of})
	}
	return p.operand()
}

func (p *parser) operand() (*node, error) {
	t := p.token
	n := node{op: opLiteral}
	switch {
	case t.kind == tokenName && strings.HasPrefix(t.text, payloadPrefix):
		if p.fields++; p.fields > maxFields {
			return nil, &Error{At: t.at, Reason: fmt.Sprintf("it asks for more than %d fields of the payload", maxFields)}
		}
		n = node{op: opPayload, name: payloadPath(strings.TrimPrefix(t.text, payloadPrefix))}
	case t.kind == tokenName:
		n = node{op: opField, name: t.text}
	case t.kind == tokenText:
		n.value = Value{Kind: Text, Text: []byte(t.text)}
	case t.kind == tokenInt || t.kind == tokenFloat:
		n.value = t.number
	case t.kind == tokenKeyword && (t.text == "TRUE" || t.text == "FALSE"):
		n.value = truth(t.text == "TRUE")
	case t.kind == tokenSign && t.text == "(":
		return p.parenthesis()
	default:
		return nil, p.unexpected("a name, a text or a number")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.node(n)
}

func (p *parser) parenthesis() (*node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.deeper(p.or)
	if err != nil {
		return nil, err
	}
	return n, p.need(")")
}
