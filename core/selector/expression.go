package selector

import "math"

type op uint8

const (
	opLiteral op = iota
	opField
	opPayload
	opNegate
	opAdd
	opSubtract
	opMultiply
	opDivide
	opEqual
	opUnequal
	opLess
	opAtMost
	opGreater
	opAtLeast
	opIsNull
	opIn
	opLike
	opNot
	opAnd
	opOr
)

// node is an expression.
type node struct {
	op          op
	left, right *node
	value       Value   // of opLiteral
	name        string  // of opField and opPayload
	list        []Value // of opIn
	like        []likePart
}

// isCondition tells whether an expression may stand as a condition: a comparison, a
// truth, or a property, which may hold one.
func (n *node) isCondition() bool {
	switch n.op {
	case opLiteral:
		return n.value.Kind == Bool
	case opField, opPayload:
		return true
	default:
		return n.op >= opEqual
	}
}

// Match tells whether the message is selected. It allocates nothing unless the selector
// looks into the payload.
func (s *Selector) Match(m Source) bool {
	v := s.root.eval(&subject{Source: m})
	if v.Kind == Loose {
		return string(v.Text) == "true"
	}
	return v.isTrue()
}

func (n *node) eval(m *subject) Value {
	switch n.op {
	case opLiteral:
		return n.value
	case opField:
		return m.Field(n.name)
	case opPayload:
		return m.payloadField(n.name)
	case opNot:
		v := n.condition(n.left, m)
		if v.Kind == Bool {
			v.True = !v.True
		}
		return v
	case opAnd, opOr:
		return n.logic(m)
	case opIsNull:
		v := n.left.eval(m)
		return truth(v.Kind == Null)
	case opIn, opLike:
		v := n.left.eval(m)
		switch {
		case v.Kind == Null:
			return Value{}
		case n.op == opIn:
			return truth(n.contains(&v))
		}
		return truth(v.isText() && matchLike(n.like, v.Text))
	case opNegate:
		v := n.left.eval(m)
		return calculate(opSubtract, &Value{Kind: Int}, &v)
	default:
		a, b := n.left.eval(m), n.right.eval(m)
		if n.op < opEqual {
			return calculate(n.op, &a, &b)
		}
		return compared(n.op, &a, &b)
	}
}

// condition evaluates an operand of logic; what is no truth is unknown.
func (*node) condition(of *node, m *subject) Value {
	v := of.eval(m)
	switch {
	case v.Kind == Bool:
		return v
	case v.Kind == Loose && string(v.Text) == "true":
		return truth(true)
	case v.Kind == Loose && string(v.Text) == "false":
		return truth(false)
	}
	return Value{}
}

// logic is AND and OR of three values: what one operand decides needs no other.
func (n *node) logic(m *subject) Value {
	decides := n.op == opOr
	a := n.condition(n.left, m)
	if a.Kind == Bool && a.True == decides {
		return a
	}
	b := n.condition(n.right, m)
	switch {
	case b.Kind == Bool && b.True == decides:
		return b
	case a.Kind == Null || b.Kind == Null:
		return Value{}
	}
	return truth(!decides)
}

func (n *node) contains(v *Value) bool {
	for i := range n.list {
		if order, ok := compare(v, &n.list[i]); ok && order == 0 {
			return true
		}
	}
	return false
}

func compared(op op, a, b *Value) Value {
	if a.Kind == Null || b.Kind == Null {
		return Value{}
	}
	order, ordered := compare(a, b)
	if !ordered {
		return truth(false)
	}
	// Truths are equal or not; none is greater.
	if (a.Kind == Bool || b.Kind == Bool) && op != opEqual && op != opUnequal {
		return truth(false)
	}
	switch op {
	case opEqual:
		return truth(order == 0)
	case opUnequal:
		return truth(order != 0)
	case opLess:
		return truth(order < 0)
	case opAtMost:
		return truth(order <= 0)
	case opGreater:
		return truth(order > 0)
	default:
		return truth(order >= 0)
	}
}

// calculate is arithmetic. What is no number, a division by 0, and what leaves 64 bits
// yield nothing.
func calculate(op op, a, b *Value) Value {
	x, isX := a.number()
	y, isY := b.number()
	if !isX || !isY {
		return Value{}
	}
	if x.Kind == Int && y.Kind == Int {
		return calculateInt(op, x.Int, y.Int)
	}
	f, g := x.float(), y.float()
	switch op {
	case opAdd:
		f += g
	case opSubtract:
		f -= g
	case opMultiply:
		f *= g
	default:
		if g == 0 {
			return Value{}
		}
		f /= g
	}
	return Value{Kind: Float, Float: f}
}

func calculateInt(op op, x, y int64) Value {
	switch op {
	case opAdd:
		if sum := x + y; (sum > x) == (y > 0) {
			return Value{Kind: Int, Int: sum}
		}
	case opSubtract:
		if difference := x - y; (difference < x) == (y > 0) {
			return Value{Kind: Int, Int: difference}
		}
	case opMultiply:
		if x == 0 || y == 0 {
			return Value{Kind: Int}
		}
		overflows := x == -1 && y == math.MinInt64 || y == -1 && x == math.MinInt64
		if product := x * y; !overflows && product/y == x {
			return Value{Kind: Int, Int: product}
		}
	default:
		if y != 0 && (x != math.MinInt64 || y != -1) {
			return Value{Kind: Int, Int: x / y}
		}
	}
	return Value{}
}
