// Package wire is the codec of AMQP 0-9-1: frames, methods, field tables and
// content properties.
//
// Everything is a pure function over bytes. Decoding never copies a payload
// and never allocates by a length that was not received; what a decoded value
// refers to lies in the bytes it was decoded from, and is valid as long as
// they are. Only [Reader] touches a connection: it reads in bursts and hands
// out the frames that lie in its buffer.
package wire
