// Package core is the engine of Tidegate: a broker that stores every message
// once in a durable log and hands references to it to queues and sessions.
//
// It knows no wire protocol. Adapters translate their protocol into calls on
// a [Broker]: they declare exchanges and queues, publish through a
// [Publisher], receive through a [Consumer] or a [Session], and settle what
// was received. A publish is confirmed only when the log holds it as durably
// as its streams ask for.
//
// What works beside callers (the committer of each shard, the publishing of
// offsets, the expiry of sessions, the watch of disk and memory) is started
// through Deps.Work alone, asks Deps.Clock for the time and Deps.Rand for
// chance. With a runner of the simulator all of it runs in one goroutine, and
// a run can be repeated exactly: see [github.com/tidegate/tidegate/core/work]
// for the rules that keep it so.
package core
