package schedule

// SetBounds has the queue keep other numbers of entries at hand.
func (q *Queue) SetBounds(most, left, few int) { q.bounds = bounds{most, left, few} }

// InMemory is how many entries the queue has in memory, in any way.
func (q *Queue) InMemory() int { return len(q.near) + len(q.fresh) + len(q.claimed) + len(q.taken) }
