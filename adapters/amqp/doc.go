// Package amqp serves AMQP 0-9-1, with RabbitMQ's extensions, on the engine.
//
// A connection has two goroutines. The reader parses frames where they lie in
// the read buffer, does what they ask for, and appends the answers to the
// connection's output. The writer adds what the engine has become ready with,
// confirms and deliveries, and writes all of it at once. The engine tells the
// writer through a list of feeds that have something; nothing polls.
//
// Both sides are bounded: the writer takes deliveries from the engine only
// while little is unsent, and the reader stops while the engine takes no
// publishes or the client takes no answers.
package amqp
