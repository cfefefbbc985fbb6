package core

import "fmt"

// durability tells when a publish to a durable stream is confirmed, and so what
// a confirmed message survives. A stricter one is larger. Whatever it is, a
// message is delivered only after it was written to the log.
type durability uint8

const (
	// inMemory confirms as soon as the message is in the open batch: what was
	// not yet written is lost when the process dies.
	inMemory durability = iota + 1
	// inSystem confirms after the write to the operating system: a confirmed
	// message survives the end of the process, but the last second may be lost
	// with the machine.
	inSystem
	// onDisk confirms after the sync: a confirmed message survives all.
	onDisk
)

// durabilities are the names in configuration, metadata and queue arguments.
var durabilities = map[string]durability{"memory": inMemory, "os": inSystem, "fsync": onDisk}

// argDurability is the queue argument that names the queue's durability.
const argDurability = "x-durability"

func parseDurability(name string) (durability, error) {
	d, ok := durabilities[name]
	if !ok {
		return 0, fmt.Errorf("durability '%s' is none of fsync, os, memory", name)
	}
	return d, nil
}

// queueDurability is what the arguments of a queue ask for, 0 when they leave
// it to the namespace.
func queueDurability(namespace string, spec *QueueSpec) (durability, error) {
	value, given := spec.Args[argDurability]
	if !given {
		return 0, nil
	}
	name, ok := value.(string)
	if d := durabilities[name]; ok && d != 0 {
		return d, nil
	}
	return 0, &Error{
		Reason: ErrInvalid, Kind: "queue", Name: spec.Name, Namespace: namespace,
		Arg: argDurability, Got: text(value), Detail: "'" + text(value) + "' is none of fsync, os, memory",
	}
}

// durabilityOf is the durability of a queue. What is not durable survives
// nothing: its publishes wait for no sync, but for their place in the queue
// unless the namespace does without.
func (ns *namespace) durabilityOf(q *declared) durability {
	switch {
	case !q.spec.Durable:
		return min(ns.durability, inSystem)
	case q.durability != 0:
		return q.durability
	}
	return ns.durability
}
