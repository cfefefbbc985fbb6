package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// valueVersion is the version of all stored values. A value of a larger one is
// refused, one of a smaller one would be read by the code of its version.
const valueVersion = 1

// encode writes a value as JSON that begins with its version. The arguments
// of the value must have gone through plainArgs.
func encode(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w: %w", value, ErrInvalid, err)
	}
	head := fmt.Appendf(nil, `{"v":%d`, valueVersion)
	if len(text) > len("{}") {
		head = append(head, ',')
	}
	return append(head, text[1:]...), nil
}

// decode reads what encode wrote into the struct that value points to.
func decode(text []byte, value any) error {
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("decode %T: %w", value, err)
	}
	switch {
	case head.Version > valueVersion:
		return fmt.Errorf("decode %T of version %d: %w", value, head.Version, ErrVersion)
	case head.Version < 1:
		return fmt.Errorf("decode %T of version %d: %w", value, head.Version, ErrInvalid)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(value); err != nil {
		return fmt.Errorf("decode %T: %w", value, err)
	}
	return nil
}

// plainArgs prepares arguments for encode; none and empty are the same.
func plainArgs(args map[string]any) (map[string]any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	plain, err := encodeArg(args, 0)
	if err != nil {
		return nil, err
	}
	return plain.(map[string]any), nil //nolint:errcheck,forcetypeassert // encodeArg makes a map of a map
}

// restoreArgs undoes plainArgs.
func restoreArgs(args map[string]any) (map[string]any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	restored, err := decodeArg(args)
	if err != nil {
		return nil, err
	}
	m, ok := restored.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("arguments of type %T: %w", restored, ErrInvalid)
	}
	return m, nil
}

func encodeExchange(e Exchange) ([]byte, error) {
	var err error
	if e.Args, err = plainArgs(e.Args); err != nil {
		return nil, err
	}
	return encode(e)
}

func encodeQueue(q Queue) ([]byte, error) {
	var err error
	if q.Args, err = plainArgs(q.Args); err != nil {
		return nil, err
	}
	return encode(q)
}

func encodeBinding(b Binding) ([]byte, error) {
	var err error
	if b.Args, err = plainArgs(b.Args); err != nil {
		return nil, err
	}
	return encode(b)
}

func encodePolicy(p Policy) ([]byte, error) {
	var err error
	if p.Definition, err = plainArgs(p.Definition); err != nil {
		return nil, err
	}
	return encode(p)
}

// identity is the value of the key of that kind.
type identity struct {
	ID string `json:"id"`
}

// marker is the value of keys that only exist.
type marker struct{}

// decodeEntry decodes a value by its key. Names come from the key, which keeps
// every byte of them, while JSON keeps only UTF-8. It returns one of Namespace,
// User, Permission, TopicPermission, Policy, Parameter, GlobalParameter, Exchange,
// Queue, Binding and identity, or nil for keys that have no meaning of their own.
func (k keys) decodeEntry(key string, value []byte) (any, error) {
	kind, names, err := k.split(key)
	if err != nil {
		return nil, err
	}
	object, err := decodeKind(kind, names, value)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	return object, nil
}

// levels is how many names the keys of a kind have.
var levels = map[string]int{
	kindNamespaces: 1, kindUsers: 1, kindPermissions: 2, kindTopics: 3, kindPolicies: 3,
	kindParameters: 3, kindGlobals: 1,
	kindExchanges: 2, kindQueues: 2, kindBindings: 6, kindIdentity: 0,
}

func decodeKind(kind string, names []string, value []byte) (any, error) {
	want, known := levels[kind]
	if !known {
		return nil, nil
	}
	if len(names) != want {
		return nil, fmt.Errorf("%d names where %d belong: %w", len(names), want, ErrInvalid)
	}
	switch kind {
	case kindNamespaces:
		ns := Namespace{}
		err := decode(value, &ns)
		ns.Name = names[0]
		return ns, err
	case kindUsers:
		u := User{}
		err := decode(value, &u)
		u.Name = names[0]
		return u, err
	case kindPermissions:
		p := Permission{}
		err := decode(value, &p)
		p.Namespace, p.User = names[0], names[1]
		return p, err
	case kindTopics:
		p := TopicPermission{}
		err := decode(value, &p)
		p.Namespace, p.User, p.Exchange = names[0], names[1], names[2]
		return p, err
	case kindPolicies:
		return decodePolicy(names, value)
	case kindParameters:
		return decodeParameter(names, value)
	case kindGlobals:
		return decodeGlobal(names, value)
	case kindExchanges:
		return decodeExchange(names, value)
	case kindQueues:
		return decodeQueue(names, value)
	case kindBindings:
		return decodeBinding(names, value)
	}
	id := identity{}
	err := decode(value, &id)
	return id, err
}

func decodePolicy(names []string, value []byte) (any, error) {
	p := Policy{}
	if err := decode(value, &p); err != nil {
		return nil, err
	}
	p.Namespace, p.Operator, p.Name = names[0], names[1] == policyKind(true), names[2]
	var err error
	p.Definition, err = restoreArgs(p.Definition)
	return p, err
}

func decodeExchange(names []string, value []byte) (any, error) {
	e := Exchange{}
	if err := decode(value, &e); err != nil {
		return nil, err
	}
	e.Namespace, e.Name = names[0], names[1]
	var err error
	e.Args, err = restoreArgs(e.Args)
	return e, err
}

func decodeQueue(names []string, value []byte) (any, error) {
	q := Queue{}
	if err := decode(value, &q); err != nil {
		return nil, err
	}
	q.Namespace, q.Name = names[0], names[1]
	var err error
	q.Args, err = restoreArgs(q.Args)
	return q, err
}

func decodeBinding(names []string, value []byte) (any, error) {
	b := Binding{}
	if err := decode(value, &b); err != nil {
		return nil, err
	}
	b.Namespace, b.ToExchange = names[0], names[1] == destKind(true)
	b.Dest, b.Source, b.Key = names[2], names[3], names[4]
	var err error
	b.Args, err = restoreArgs(b.Args)
	return b, err
}
