package gateway

// Route is a line of the table of routes, for the test that walks it.
type Route struct{ Pattern, Access string }

// Routes returns the table of routes.
func (s *Server) Routes() []Route {
	names := map[access]string{
		public: "public", monitoring: "monitoring", member: "member", administrator: "administrator",
	}
	var table []Route
	for _, rt := range s.routes() {
		table = append(table, Route{rt.pattern, names[rt.access]})
	}
	return table
}
