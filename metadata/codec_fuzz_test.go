package metadata

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FuzzDecodeEntry checks that no stored value is a panic, and that what is
// accepted is the same after it was written again.
func FuzzDecodeEntry(f *testing.F) {
	k := newKeys("c")
	f.Add("queues/n/q", []byte(`{"v":1,"namespace":"n","name":"q","stream":3,"args":{"a":[1,2.5,{"$bytes":"AA=="}]}}`))
	f.Add("exchanges/n/e", []byte(`{"v":1,"type":"topic","args":{"$pairs":[[{"$string":"/w=="},1]]}}`))
	f.Add("bindings/n/q/d/s/k/", []byte(`{"v":1,"args":{"t":{"$time":"2026-11-22T00:00:00Z"}}}`))
	f.Add("users/%2F", []byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		key := k.root + path
		object, err := k.decodeEntry(key, value)
		if err != nil {
			return
		}
		again := bytes.Clone(value)
		switch o := object.(type) {
		case Exchange:
			again, err = encodeExchange(o)
		case Queue:
			again, err = encodeQueue(o)
		case Binding:
			again, err = encodeBinding(o)
		}
		if errors.Is(err, ErrInvalid) {
			return // nests deeper than what a client may declare
		}
		if err != nil {
			t.Fatalf("encode %+v: %v", object, err)
		}
		second, err := k.decodeEntry(key, again)
		if err != nil {
			t.Fatalf("decode %s after encode: %v", again, err)
		}
		a, errA := encode(object)
		b, errB := encode(second)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("decode after encode: got %s, %v, want %s, %v", b, errB, a, errA)
		}
	})
}

// FuzzReadCopy checks that no file is a panic.
func FuzzReadCopy(f *testing.F) {
	f.Add([]byte("tidegate-catalog 1 00000000 0\n"))
	f.Add([]byte("tidegate-catalog 1 4c7a1ec7 2\n{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fs := vfs.NewMem()
		file, err := fs.Create("copy", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if stored, err := readCopy(fs, "copy"); err == nil && int64(len(stored.Entries)) > int64(len(text)) {
			t.Errorf("copy of %d bytes: got %d entries", len(text), len(stored.Entries))
		}
	})
}
