package wire

import (
	"encoding/binary"
	"fmt"
)

// maxDepth bounds how deep tables and arrays lie in each other.
const maxDepth = 64

// Table is a field table as on the wire, without its length: fields of a
// short string as name, a tag and a value. A Table that was decoded is well
// formed. The tags, which are RabbitMQ's and not those of the standard's text:
//
//	t bool    b int8    B uint8   s int16  u uint16  I int32  i uint32
//	l int64   L uint64  f float32 d float64
//	D decimal: scale uint8, value uint32
//	S string: length uint32        x bytes: length uint32
//	A array: length uint32         F table: length uint32
//	T seconds since 1970, uint64   V nothing
type Table []byte

// Iterator goes over the fields of a table without allocating.
type Iterator struct {
	d     decoder
	name  []byte
	tag   byte
	value []byte
}

// Iter returns an iterator before the first field.
func (t Table) Iter() Iterator { return Iterator{d: decoder{b: t}} }

// Next goes to the next field; it returns false at the end and at a malformed field.
func (it *Iterator) Next() bool {
	if len(it.d.b) == 0 || it.d.err != nil {
		return false
	}
	it.name = it.d.shortbytes()
	it.tag = it.d.octet()
	it.value = it.d.raw(it.tag)
	return it.d.err == nil
}

// Name is the field's name, in place.
func (it *Iterator) Name() []byte { return it.name }

// Tag is the tag of the field's type.
func (it *Iterator) Tag() byte { return it.tag }

// Raw is the encoded value; of strings, bytes, arrays and tables without the length.
func (it *Iterator) Raw() []byte { return it.value }

// Value decodes the field's value; see [Field].
func (it *Iterator) Value() (any, error) { return decodeValue(it.tag, it.value, 1) }

// raw takes the encoded value of a tag, without a length in front of it.
func (d *decoder) raw(tag byte) []byte {
	switch tag {
	case 'V':
		return d.take(0)
	case 't', 'b', 'B':
		return d.take(1)
	case 's', 'u':
		return d.take(2)
	case 'I', 'i', 'f':
		return d.take(4)
	case 'D':
		return d.take(5)
	case 'l', 'L', 'd', 'T':
		return d.take(8)
	case 'S', 'x', 'A', 'F':
		return d.longstr()
	}
	if d.err == nil {
		d.err = fmt.Errorf("%w: unknown field type %q", ErrSyntax, tag)
	}
	return nil
}

func checkTable(b []byte, depth int) error {
	d := decoder{b: b}
	for len(d.b) > 0 && d.err == nil {
		d.shortbytes()
		if err := d.checkValue(depth); err != nil {
			return err
		}
	}
	return d.err
}

func checkArray(b []byte, depth int) error {
	d := decoder{b: b}
	for len(d.b) > 0 && d.err == nil {
		if err := d.checkValue(depth); err != nil {
			return err
		}
	}
	return d.err
}

func (d *decoder) checkValue(depth int) error {
	tag := d.octet()
	v := d.raw(tag)
	if d.err != nil || (tag != 'A' && tag != 'F') {
		return d.err
	}
	if depth+1 >= maxDepth {
		return fmt.Errorf("%w: tables nested deeper than %d", ErrSyntax, maxDepth)
	}
	if tag == 'A' {
		return checkArray(v, depth+1)
	}
	return checkTable(v, depth+1)
}

// Lookup decodes the first field of the name.
func (t Table) Lookup(name string) (v any, ok bool) {
	for it := t.Iter(); it.Next(); {
		if string(it.Name()) == name {
			v, err := it.Value()
			return v, err == nil
		}
	}
	return nil, false
}

// AppendWithout appends the table without the fields of the name to dst.
func (t Table) AppendWithout(dst Table, name string) Table {
	rest := t
	for it := t.Iter(); it.Next(); {
		field := rest[:len(rest)-len(it.d.b)]
		rest = rest[len(field):]
		if string(it.Name()) != name {
			dst = append(dst, field...)
		}
	}
	return dst
}

// ParseTable checks that b is the body of a field table, and takes it as one.
func ParseTable(b []byte) (Table, error) {
	if err := checkTable(b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// Fields decodes the whole table, in order, repeated names included.
func (t Table) Fields() ([]Field, error) { return decodeFields(t, 0) }

func decodeFields(b []byte, depth int) ([]Field, error) {
	var fields []Field
	it := Table(b).Iter()
	for it.Next() {
		v, err := decodeValue(it.tag, it.value, depth+1)
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{Name: string(it.name), Value: v})
	}
	return fields, it.d.err
}

func decodeArray(b []byte, depth int) ([]any, error) {
	d := decoder{b: b}
	values := []any{}
	for len(d.b) > 0 {
		tag := d.octet()
		raw := d.raw(tag)
		if d.err != nil {
			return nil, d.err
		}
		v, err := decodeValue(tag, raw, depth+1)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// appendTable appends the fields, with the table's length in front.
func appendTable(dst []byte, fields []Field) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, f := range fields {
		dst = appendShortstr(dst, f.Name)
		dst = appendValue(dst, f.Value)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// EncodeTable returns the fields as a table.
func EncodeTable(fields []Field) Table { return appendTable(nil, fields)[4:] }
