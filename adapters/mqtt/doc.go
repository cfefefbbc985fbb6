// Package mqtt serves MQTT 3.1, 3.1.1 and 5 on the engine.
//
// A connection is one reader goroutine, which parses, authorises and publishes,
// and a writer goroutine that exists only while there is something to send.
// The reader never writes to the socket; it leaves replies in the connection's
// output and the writer sends all of them with one call. Acknowledgements are
// not replies: the writer makes them when the log has what they promise.
//
// Package wire is the codec, package session the protocol rules without I/O.
//
// # Locks
//
// From the outside in: shared.mu (the sending side of a session), then the
// engine's own locks; conn.inMu and output.mu, in this order, are taken last
// and nothing is called while they are held. The engine calls Notify, Live and
// Kicked with its locks held, so those take only output.mu and flusher.mu.
package mqtt
