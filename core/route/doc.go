// Package route is the routing graph of one namespace: exchanges, bindings and
// the topics that have a value.
//
// A [Table] holds the exchanges, their bindings and the MQTT filters, and says
// which destinations a publish reaches. AMQP binding keys and MQTT filters lie
// in one trie of words, so one walk answers for both protocols. [Topics] maps
// topics to values and finds those that a filter matches.
//
// Keys are in AMQP form everywhere in a Table: words separated by '.'. An MQTT
// topic becomes a key by [SwapTopic], which exchanges '.' and '/', so no two
// topics share a key.
//
// The package is pure: it has no locks, clock, I/O or goroutines. Methods that
// only read may run at the same time as each other; the owner keeps writers
// apart from everything else.
package route
