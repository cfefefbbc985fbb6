// Package wire reads and writes MQTT 3.1, 3.1.1 and 5 packets.
//
// The packets that flow with every message (PUBLISH, its acknowledgements and
// PINGREQ) are parsed in place on the read buffer and appended to the output
// without allocation. The rare ones go through mochi's codec; each is checked
// here first, field by field, because that codec trusts more than it should:
// it runs over the end of a truncated SUBSCRIBE, lets a property run out of its
// block, and takes trailing bytes.
//
// Nothing here keeps state of a connection, and nothing here panics or
// allocates by a length that it has not checked against what arrived.
package wire
