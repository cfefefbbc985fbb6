package core

// Claim reserves a filter for the session, so that it may subscribe to it exclusively;
// false when another session has such a subscription, or is about to. Subscribe is to
// follow, or Unclaim. The claim ends with the subscription, which is as durable as the
// session.
func (h *Session) Claim(filter string) bool {
	h.ns.mu.Lock()
	defer h.ns.mu.Unlock()
	if holder := h.ns.exclusive[filter]; h.fenced.Load() || holder != nil && holder != h.session {
		return false
	}
	h.ns.claim(filter, h.session)
	return true
}

// Unclaim gives up a claim of which no subscription came. One that is there stays
// exclusive.
func (h *Session) Unclaim(filter string) {
	h.ns.mu.Lock()
	defer h.ns.mu.Unlock()
	f := h.ns.filters[filter]
	if f != nil {
		if sub := f.subs[h.session]; sub != nil && sub.spec.Exclusive {
			return
		}
	}
	h.ns.release(filter, h.session)
}

// claim notes who has a filter. mu is held.
func (ns *namespace) claim(filter string, s *session) {
	if ns.exclusive == nil {
		ns.exclusive = map[string]*session{}
	}
	ns.exclusive[filter] = s
}

// release frees a filter if the session has it. mu is held.
func (ns *namespace) release(filter string, s *session) {
	if ns.exclusive[filter] == s {
		delete(ns.exclusive, filter)
	}
}

// holdExclusive claims the filter of a subscription that is exclusive, and releases
// that of one that is not any more. ns.mu is held.
func (s *session) holdExclusive(sub *subscription) {
	switch {
	case !sub.spec.Exclusive:
		s.ns.release(sub.spec.Filter, s)
	case s.ns.exclusive[sub.spec.Filter] == nil:
		s.ns.claim(sub.spec.Filter, s)
	}
}
