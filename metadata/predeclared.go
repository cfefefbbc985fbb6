package metadata

// predeclared are the exchanges that exist in every namespace with their
// types. They are not stored, not listed and not given to the listener.
var predeclared = map[string]string{
	"":                   "direct",
	"amq.direct":         "direct",
	"amq.fanout":         "fanout",
	"amq.topic":          "topic",
	"amq.headers":        "headers",
	"amq.match":          "headers",
	"amq.rabbitmq.trace": "topic",
}

// Predeclared reports whether every namespace has an exchange of that name by
// itself.
func Predeclared(exchange string) bool {
	_, ok := predeclared[exchange]
	return ok
}
