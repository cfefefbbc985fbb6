package core

// emptyNamespace ends what a deleted namespace still has: queues that live in
// memory, since the others were deleted before it. Sessions of its clients end
// with their expiry. ns.mu is held.
func (b *Broker) emptyNamespace(ns *namespace) {
	for _, q := range ns.queues {
		if !q.spec.Durable {
			b.removeQueue(ns, q)
		}
	}
	ns.version.Add(1)
}
