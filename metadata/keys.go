package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// The kinds of keys, each the first level below the cluster's root:
//
//	identity                                       a random name of this very store
//	sync                                           written to be seen by the watch
//	namespaces/<namespace>
//	users/<user>
//	permissions/<namespace>/<user>
//	topicpermissions/<namespace>/<user>/<exchange>
//	policies/<namespace>/{p,o}/<policy>            o for the operator's
//	parameters/<namespace>/<component>/<name>
//	globals/<name>
//	exchanges/<namespace>/<exchange>
//	guards/<namespace>/<exchange>                  written by each bind, see CreateBinding
//	queues/<namespace>/<queue>
//	bindings/<namespace>/{q,x}/<destination>/<source>/<key>/<arguments>
//
// Published offsets change all the time, and the catalog's watch is not to hear
// of them: they have a root of their own, see offset. Names are escaped, so that a level never has a "/" in it; an empty name is an
// empty level. A binding lies below its destination, so that deleting a queue
// deletes one prefix.
const (
	kindIdentity    = "identity"
	kindSync        = "sync"
	kindNamespaces  = "namespaces"
	kindUsers       = "users"
	kindPermissions = "permissions"
	kindTopics      = "topicpermissions"
	kindPolicies    = "policies"
	kindParameters  = "parameters"
	kindGlobals     = "globals"
	kindExchanges   = "exchanges"
	kindGuards      = "guards"
	kindQueues      = "queues"
	kindBindings    = "bindings"
	kindOffsets     = "offsets" // below the root once; what is there is not read
)

// keys makes and reads the keys of one cluster.
type keys struct {
	root    string // "/tidegate/<cluster>/"
	offsets string // "/tidegate-offsets/<cluster>/"
	marks   string // "/tidegate-marks/<cluster>/"
}

func newKeys(cluster string) keys {
	cluster = url.PathEscape(cluster) + "/"
	return keys{
		root: "/tidegate/" + cluster, offsets: "/tidegate-offsets/" + cluster, marks: "/tidegate-marks/" + cluster,
	}
}

func (k keys) key(kind string, names ...string) string {
	var b strings.Builder
	b.WriteString(k.root)
	b.WriteString(kind)
	for _, name := range names {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(name))
	}
	return b.String()
}

// prefix is the key's prefix of all keys below it.
func (k keys) prefix(kind string, names ...string) string { return k.key(kind, names...) + "/" }

func (k keys) namespace(name string) string        { return k.key(kindNamespaces, name) }
func (k keys) exchange(namespace, n string) string { return k.key(kindExchanges, namespace, n) }
func (k keys) guard(namespace, n string) string    { return k.key(kindGuards, namespace, n) }
func (k keys) queue(namespace, n string) string    { return k.key(kindQueues, namespace, n) }

func (k keys) policy(namespace string, operator bool, n string) string {
	return k.key(kindPolicies, namespace, policyKind(operator), n)
}

func (k keys) binding(b *Binding) (string, error) {
	args, err := digest(b.Args)
	if err != nil {
		return "", err
	}
	return k.key(kindBindings, b.Namespace, destKind(b.ToExchange), b.Dest, b.Source, b.Key, args), nil
}

// offset is the key of a published offset: <stream>/<cursor>/<shard> below the
// root of offsets, the numbers as 16 and the shard as 8 hex digits. A filter's
// stream has a part, and a cursor there, in every shard.
func (k keys) offset(o *Offset) string {
	return k.offsetOf(o.Stream, o.Cursor) + fmt.Sprintf("%08x", o.Shard)
}

// offsetsOf is the prefix of all published offsets of a stream.
func (k keys) offsetsOf(stream uint64) string { return k.offsets + number(stream) + "/" }

// offsetOf is the prefix of the published offsets of one cursor, in all shards.
func (k keys) offsetOf(stream, cursor uint64) string {
	return k.offsetsOf(stream) + number(cursor) + "/"
}

// splitOffset takes the key of a published offset apart.
func (k keys) splitOffset(key string, o *Offset) (err error) {
	rest, below := strings.CutPrefix(key, k.offsets)
	levels := strings.Split(rest, "/")
	if !below || len(levels) != 3 {
		return fmt.Errorf("key %q: %w", key, ErrInvalid)
	}
	if o.Stream, err = parseNumber(levels[0]); err == nil {
		o.Cursor, err = parseNumber(levels[1])
	}
	return err
}

// split takes a key apart into its kind and the names in it.
func (k keys) split(key string) (kind string, names []string, err error) {
	rest, ok := strings.CutPrefix(key, k.root)
	if !ok {
		return "", nil, fmt.Errorf("key %q is not below %q: %w", key, k.root, ErrInvalid)
	}
	levels := strings.Split(rest, "/")
	for i, level := range levels {
		if levels[i], err = url.PathUnescape(level); err != nil {
			return "", nil, fmt.Errorf("key %q: %w: %w", key, ErrInvalid, err)
		}
	}
	return levels[0], levels[1:], nil
}

// kindOf is the kind of a key without the rest of split's work.
func (k keys) kindOf(key string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(key, k.root), "/")
	return kind
}

func destKind(toExchange bool) string {
	if toExchange {
		return "x"
	}
	return "q"
}

func policyKind(operator bool) string {
	if operator {
		return "o"
	}
	return "p"
}

func number(n uint64) string { return fmt.Sprintf("%016x", n) }

func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("number %q in a key: %w", s, ErrInvalid)
	}
	return n, nil
}

// digest names arguments in a key: equal arguments have the same digest.
func digest(args map[string]any) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	text, err := marshalArgs(args)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}
