package gateway

// RoutesForTest returns the table of routes, for the test that walks it.
func (s *Server) RoutesForTest() []Route { return s.routes() }

// CostForTest has fn called with the cost of each password that is hashed by
// argon2: KiB of memory times passes.
func (a *Authenticator) CostForTest(fn func(cost int)) {
	a.matches = func(stored storedPassword, password string) bool {
		if h, ok := stored.(argonHash); ok {
			fn(int(h.memory) * int(h.passes))
		}
		return stored.matches(password)
	}
}
