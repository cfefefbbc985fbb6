package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// decoder takes values from the front of bytes. After the first failure all
// further values are zero, and err tells what was wrong.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.b) {
		d.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrSyntax, n, len(d.b))
		d.b = nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) octet() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) short() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) long() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) longlong() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// shortbytes takes a short string as it is.
func (d *decoder) shortbytes() []byte { return d.take(int(d.octet())) }

// name takes a short string that must be UTF-8, in place.
func (d *decoder) name() []byte {
	b := d.shortbytes()
	if d.err == nil && !utf8.Valid(b) {
		d.err = fmt.Errorf("%w: Malformed UTF-8 in shortstr", ErrSyntax)
	}
	return b
}

// shortstr takes a short string that must be UTF-8, as a copy.
func (d *decoder) shortstr() string { return string(d.name()) }

func (d *decoder) longstr() []byte {
	n := d.long()
	if d.err == nil && uint64(n) > uint64(len(d.b)) {
		d.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrSyntax, n, len(d.b))
		d.b = nil
		return nil
	}
	return d.take(int(n))
}

// table takes a field table and checks it to the last value.
func (d *decoder) table() Table {
	b := d.longstr()
	if d.err == nil {
		d.err = checkTable(b, 0)
	}
	return b
}

// end refuses what is left.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%w: %d bytes after the last argument", ErrSyntax, len(d.b))
	}
	return d.err
}

func appendShortstr[T string | []byte](dst []byte, s T) []byte {
	s = clip(s)
	dst = append(dst, byte(len(s)))
	return append(dst, s...)
}

// clip cuts s at a character's border so that it fits a short string.
func clip[T string | []byte](s T) T {
	if len(s) <= 255 {
		return s
	}
	n := 255
	for n > 252 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func appendLongstr[T string | []byte | Table](dst []byte, s T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

func bits(set ...bool) byte {
	var b byte
	for i, on := range set {
		if on {
			b |= 1 << i
		}
	}
	return b
}
