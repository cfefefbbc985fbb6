// Package schedule decides which held messages are due, in which order, and which
// are not to be delivered any more. It is pure: it has no clock, does no I/O, and
// starts nothing.
//
// A [Queue] has in memory what is due next, up to a bound, and what the store of the
// shard has not got yet; all others are in the store alone, and are loaded when those
// before them are gone. So its memory does not grow with the messages that are held.
package schedule
