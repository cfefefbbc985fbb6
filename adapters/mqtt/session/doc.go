// Package session holds the protocol rules of an MQTT session as pure state
// machines: what may be sent, in which order, under which packet identifier,
// and what an arriving packet means. They have no clock, no I/O and no locks;
// their owner feeds events in and does what comes out.
//
//   - [Inflight] is the sending side: unacknowledged messages of QoS 1 and 2.
//     It outlives connections.
//   - [Inbound] is the receiving side of one connection: which publishes wait
//     for which confirm, and how many there may be.
//   - [AliasesIn] and [AliasesOut] are the topic aliases of one connection.
package session
