// Package core is the engine of Tidegate: a broker that stores every message
// once in a durable log and hands references to it to queues and sessions.
//
// It knows no wire protocol. Adapters translate their protocol into calls on
// a [Broker]: they declare exchanges and queues, publish through a
// [Publisher], receive through a [Consumer] or a [Session], and settle what
// was received. A publish is confirmed only when the log holds it as durably
// as its streams ask for.
package core
