package queue

// Sharing says which of a queue's consumers get its messages.
type Sharing uint8

// The ways in which consumers share a queue.
const (
	// Shared has all of them compete: those of the highest priority that have
	// room take turns.
	Shared Sharing = iota
	// Single serves one alone. When it leaves, the oldest of those with the
	// highest priority takes over at once; what the former one fetched stays in
	// flight.
	Single
	// SingleByPriority is Single, but for a consumer of a higher priority that
	// comes later: it takes over once the active one has settled all that it
	// holds, and until then nobody gets more.
	SingleByPriority
)

// Share sets how the consumers share the queue. It may be changed at any time.
func (q *Queue) Share(s Sharing) {
	q.sharing, q.active = s, nil
	q.elect()
}

// Serves tells whether the consumer is one that gets messages: with Single only
// one does.
func (q *Queue) Serves(c *Consumer) bool { return q.sharing == Shared || q.active == c }

// elect makes somebody the active consumer if nobody is, or if the active one
// has to make place and holds nothing any more.
func (q *Queue) elect() {
	switch first := q.levels.oldest(); {
	case q.sharing == Shared:
		q.active = nil
	case q.active == nil || q.yields() && q.active.held == 0:
		q.active = first
	}
}

// yields tells whether the active consumer has to make place for another one.
func (q *Queue) yields() bool {
	return q.sharing == SingleByPriority && q.active != nil && q.levels[0].priority > q.active.priority
}

// pick returns the consumer that gets the next message, and takes from its
// limits; nil when nobody has room.
func (q *Queue) pick() *Consumer {
	if q.sharing != Shared {
		q.elect()
		if c := q.active; c != nil && !q.yields() && c.acquire() {
			return c
		}
		return nil
	}
	for i := range q.levels {
		if c := q.levels[i].next(); c != nil {
			return c
		}
	}
	return nil
}
