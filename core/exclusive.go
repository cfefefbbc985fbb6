package core

// claim is who has a filter to itself.
type claim struct {
	session *session
	by      *Session // the connection that claimed it last; nil after a restart
}

// Claim reserves a filter for the session, so that it may subscribe to it exclusively;
// false when another session has such a subscription, or is about to. Subscribe is to
// follow, or Unclaim. The claim ends with the subscription, which is as durable as the
// session.
func (h *Session) Claim(filter string) bool {
	h.ns.mu.Lock()
	defer h.ns.mu.Unlock()
	holder := h.ns.exclusive[filter].session
	if h.fenced.Load() || holder != nil && holder != h.session {
		return false
	}
	h.ns.claim(filter, claim{session: h.session, by: h})
	return true
}

// Unclaim gives up a claim of which no subscription came. One that is there stays
// exclusive, and so does what another connection of the session has claimed since this
// one was taken over.
func (h *Session) Unclaim(filter string) {
	h.ns.mu.Lock()
	defer h.ns.mu.Unlock()
	f := h.ns.filters[filter]
	if f != nil {
		if sub := f.subs[h.session]; sub != nil && sub.spec.Exclusive {
			return
		}
	}
	if h.ns.exclusive[filter].by == h {
		h.ns.release(filter, h.session)
	}
}

// claim notes who has a filter. mu is held.
func (ns *namespace) claim(filter string, c claim) {
	if ns.exclusive == nil {
		ns.exclusive = map[string]claim{}
	}
	ns.exclusive[filter] = c
}

// release frees a filter if the session has it. mu is held.
func (ns *namespace) release(filter string, s *session) {
	if ns.exclusive[filter].session == s {
		delete(ns.exclusive, filter)
	}
}

// holdExclusive claims the filter of a subscription that is exclusive, and releases
// that of one that is not any more. ns.mu is held.
func (s *session) holdExclusive(sub *subscription) {
	switch {
	case !sub.spec.Exclusive:
		s.ns.release(sub.spec.Filter, s)
	case s.ns.exclusive[sub.spec.Filter].session == nil:
		s.ns.claim(sub.spec.Filter, claim{session: s})
	}
}
