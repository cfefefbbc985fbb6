package sim_test

// change is a transaction of which it is not known whether it took effect. All of it
// did, or nothing: the first that shows which tells of all else.
type change struct {
	pubs []*message
	acks []*entry
}

// inDoubt notes that nobody knows whether a transaction took effect.
func (w *world) inDoubt(x *transaction) {
	c := new(change)
	for _, p := range x.pubs {
		p.m.change = c
		c.pubs = append(c.pubs, p.m)
	}
	for _, a := range x.acks {
		if a.inflight = false; a.requeue {
			continue
		}
		a.excused, a.settled, a.change = true, true, c
		c.acks = append(c.acks, a.entry)
	}
	w.changes = append(w.changes, c)
}

// shown notes what a delivery tells of a change in doubt.
func (j *judge) shown(e *entry) {
	if c := e.m.change; c != nil {
		c.took()
	}
	if c := e.change; c != nil {
		c.failed()
	}
}

// took notes that the change took effect. What a start has found is durable.
func (c *change) took() {
	for _, m := range c.pubs {
		m.change = nil
		for _, e := range m.at {
			if e.dest.durable {
				e.confirmed = onDisk
			}
		}
	}
	for _, e := range c.acks {
		e.change = nil
		e.final = e.final || e.dest.durable
	}
}

// failed notes that nothing of the change took effect: what it published never comes,
// and what it settled comes again.
func (c *change) failed() {
	for _, m := range c.pubs {
		m.change, m.refused = nil, true
	}
	for _, e := range c.acks {
		e.change, e.excused = nil, false
	}
}

// resolveChanges looks, when clients have got all there is, for what did not come
// though it had to if its transaction took effect.
func (j *judge) resolveChanges() {
	for _, c := range j.changes {
		for _, m := range c.pubs {
			if m.change == c && m.mustHaveCome() {
				c.failed()
			}
		}
	}
}

// mustHaveCome tells whether somebody had to get the message if it is there.
func (m *message) mustHaveCome() bool {
	for _, e := range m.at {
		if e.dest.durable && !e.dest.stream && !e.loose && !e.excused && e.ends.IsZero() {
			return true
		}
	}
	return false
}
