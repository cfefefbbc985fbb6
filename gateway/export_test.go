package gateway

// RoutesForTest returns the table of routes, for the test that walks it.
func (s *Server) RoutesForTest() []Route { return s.routes() }
