package route

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// The exchanges of four types choose one of the destinations bound to them for
// each publish:
//
//	x-consistent-hash  by hash and weight; the binding key is the weight
//	x-modulus-hash     by hash, modulo the number of destinations
//	x-random           by chance
//	x-local-random     by chance, queues only
//
// Each keeps its destinations once, sorted by kind and name, whatever the order of
// the bindings was: the same bindings choose alike after a restart and on every node.
//
// x-consistent-hash uses weighted rendezvous hashing. A destination d of weight w has
// for a value v the score -w / ln(u), where u in (0, 1) is made of the hashes of v
// and of d's name; the highest score wins. So d gets the share w / (sum of all
// weights), a destination that joins takes its share evenly from the others, and the
// values of one that leaves are the only ones to move.

// memberKey names a destination of a choosing exchange.
type memberKey struct {
	toExchange bool
	name       string
}

func (k memberKey) compare(o memberKey) int {
	switch {
	case k.toExchange == o.toExchange:
		return cmp.Compare(k.name, o.name)
	case o.toExchange:
		return -1
	default:
		return 1
	}
}

// member is a destination of a choosing exchange with its bindings.
type member struct {
	memberKey
	hash    uint64
	weight  float64  // of the oldest binding; later ones to the same destination change nothing
	entries []uint32 // its bindings, oldest first
}

// chooses tells whether an exchange of the type picks one destination.
func chooses(typ string) bool {
	switch typ {
	case ConsistentHash, ModulusHash, Random, LocalRandom:
		return true
	default:
		return false
	}
}

// weightOf reads the weight that a binding key of a consistent hash stands for.
func weightOf(key string) (float64, error) {
	n, err := strconv.ParseInt(key, 10, 64)
	switch {
	case err != nil:
		return 0, RefusedError(fmt.Sprintf("The binding key must be an integer: <<%q>>", key))
	case n < 1:
		return 0, RefusedError("The binding key must be greater than 0")
	}
	return float64(n), nil
}

// checkChoice tells why a binding can't be one of a choosing exchange.
func checkChoice[D comparable](b *binding[D]) error {
	switch b.source.kind {
	case ConsistentHash:
		_, err := weightOf(b.Key)
		return err
	case LocalRandom:
		switch {
		case b.Key != "":
			return RefusedError("Non empty binding '" + b.Key + "' key not permitted")
		case b.target != nil:
			return RefusedError("Destination not found")
		}
	}
	return nil
}

func (b *binding[D]) memberKey() memberKey {
	if b.target != nil {
		return memberKey{true, b.target.Name}
	}
	return memberKey{false, b.DestName}
}

// join counts a new binding among the exchange's destinations.
func (x *exchange[D]) join(b *binding[D]) {
	key := b.memberKey()
	i, found := slices.BinarySearchFunc(x.members, key, func(m member, k memberKey) int { return m.compare(k) })
	if !found {
		x.members = slices.Insert(x.members, i, member{memberKey: key, hash: hashText(key.name)})
	}
	m := &x.members[i]
	m.entries = append(m.entries, b.entry)
	x.reweigh(m, b)
}

// reweigh takes the weight from the oldest binding.
func (x *exchange[D]) reweigh(m *member, oldest *binding[D]) {
	if len(m.entries) == 1 && x.kind == ConsistentHash {
		m.weight, _ = weightOf(oldest.Key) // was checked
	}
}

// leave forgets a binding, and its destination with the last one.
func (t *Table[D]) leave(x *exchange[D], b *binding[D]) {
	key := b.memberKey()
	i, found := slices.BinarySearchFunc(x.members, key, func(m member, k memberKey) int { return m.compare(k) })
	if !found {
		return
	}
	m := &x.members[i]
	m.entries = slices.DeleteFunc(m.entries, func(e uint32) bool { return e == b.entry })
	if len(m.entries) == 0 {
		x.members = slices.Delete(x.members, i, i+1)
		return
	}
	if x.kind == ConsistentHash {
		m.weight, _ = weightOf(t.entries.at(m.entries[0]).binding.Key)
	}
}

// choose takes one destination of the exchange.
func (m *match[D]) choose(x *exchange[D]) {
	if len(x.members) == 0 {
		return
	}
	var i int
	switch x.kind {
	case ConsistentHash:
		i = heaviest(x.members, m.hashed(x))
	case ModulusHash:
		i = int(hashBytes(m.publish.Key) % uint64(len(x.members)))
	default:
		m.result.PerMessage = m.result.PerMessage || len(x.members) > 1
		i = int(mix(m.publish.Chance^hashText(x.Name)) % uint64(len(x.members)))
	}
	m.takeEntry(m.table.entries.at(x.members[i].entries[0]))
}

// hashed returns the hash of what the exchange goes by.
func (m *match[D]) hashed(x *exchange[D]) uint64 {
	header, property := hashArguments(x.Args)
	var lookup HeaderFunc
	var name string
	switch {
	case header != "":
		lookup, name = m.publish.Headers, header
	case property != "":
		lookup, name = m.publish.Property, property
	default:
		return hashBytes(m.publish.Key)
	}
	m.result.PerMessage = true
	if lookup == nil {
		return hashText("")
	}
	v, _ := lookup(name)
	return hashValue(v)
}

// hashArguments returns the header or the property that a consistent hash goes by.
func hashArguments(args map[string]any) (header, property string) {
	header, _ = args[HashHeader].(string)
	property, _ = args[HashProperty].(string)
	return header, property
}

// heaviest returns the member with the highest score for a hash.
func heaviest(members []member, h uint64) int {
	best, most := 0, 0.0
	for i := range members {
		u := (float64(mix(h^members[i].hash)>>12) + 0.5) / (1 << 52) // exact, never 0 nor 1
		if score := -members[i].weight / math.Log(u); score > most {
			best, most = i, score
		}
	}
	return best
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// hashText and hashBytes are FNV-1a of 64 bits, finished by mix. They must never
// change: the assignment of keys to queues hangs on them.
func hashText(s string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return mix(h)
}

func hashBytes(b []byte) uint64 {
	h := uint64(fnvOffset)
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return mix(h)
}

// hashValue hashes the value of a header. Texts hash like keys; whole numbers hash
// alike whatever their width.
func hashValue(v any) uint64 {
	switch v := v.(type) {
	case nil:
		return hashText("")
	case string:
		return hashText(v)
	case []byte:
		return hashBytes(v)
	case time.Time:
		return hashText(strconv.FormatInt(v.Unix(), 10))
	}
	return hashText(fmt.Sprint(v))
}

// mix spreads every bit of h over all bits.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}
