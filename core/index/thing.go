package index

import (
	"encoding/binary"

	"github.com/tidegate/tidegate/core/record"
)

// Thing is what a record speaks of that makes or ends something: a session or a
// stream, or what one of these has. The store has the newest record of each thing,
// and the newest one that ended it, so that of many such records those are known
// that still say something.
type Thing struct {
	owner byte // keySession or keyStream
	id    uint64
	kind  byte // of what the owner has, 0 for the owner
	name  string
}

const (
	thingSubscription = 'U'
	thingValue        = 'V'
	thingCursor       = 'C'
	thingEnded        = 'a' - 'A' // is added to the kind of what has ended
)

// SessionThing is a session.
func SessionThing(id uint64) Thing { return Thing{owner: keySession, id: id} }

// SubscriptionThing is a session's subscription.
func SubscriptionThing(id uint64, filter string) Thing {
	return Thing{owner: keySession, id: id, kind: thingSubscription, name: filter}
}

// ValueThing is a session's value.
func ValueThing(id uint64, k uint32) Thing {
	return Thing{owner: keySession, id: id, kind: thingValue, name: string(binary.BigEndian.AppendUint32(nil, k))}
}

// StreamThing is a stream.
func StreamThing(id record.StreamID) Thing { return Thing{owner: keyStream, id: uint64(id)} }

// CursorThing is a cursor of a stream.
func CursorThing(id record.StreamID, cursor uint64) Thing {
	return Thing{
		owner: keyStream, id: uint64(id), kind: thingCursor,
		name: string(binary.BigEndian.AppendUint64(nil, cursor)),
	}
}

// Owner is the session or stream that has the thing, or else the thing itself.
func (t Thing) Owner() Thing { return Thing{owner: t.owner, id: t.id} }

// NewestKey is the key of the LSN of the record that says what the thing is. It
// begins the keys of all that an owner has.
func (t Thing) NewestKey() []byte { return t.key(keyNewest, t.kind) }

// EndKey is the key of the LSN of the newest record that ended the thing.
func (t Thing) EndKey() []byte {
	if t.kind == 0 {
		return t.key(keyEnded, 0)
	}
	return t.key(keyNewest, t.kind+thingEnded)
}

func (t Thing) key(first, kind byte) []byte {
	k := binary.BigEndian.AppendUint64([]byte{first, t.owner}, t.id)
	if kind == 0 {
		return k
	}
	return append(append(k, kind), t.name...)
}

// TellsEnd tells whether the key is an EndKey.
func TellsEnd(k []byte) bool {
	const owner = 1 + 1 + 8 // the length of an owner's key
	return len(k) >= owner && k[0] == keyEnded || len(k) > owner && k[0] == keyNewest && k[owner] >= thingEnded+'A'
}
