// Package sim is a simulator of the engine, for tests. A seed decides all that
// happens: what clients do, which part of the engine works next, when the disk
// fails or the power goes, and what is left of data that was not synced. All of
// it runs in one goroutine, by an injected clock, on a disk in memory, so that
// a seed that fails fails again in the same way.
//
// The engine is the real one, [github.com/tidegate/tidegate/core] with all that
// is below it, but for three things: the index is an ordered map, the metadata
// are in memory, and what works beside callers runs turn by turn (see
// [github.com/tidegate/tidegate/core/work]).
//
// docs/testing.md tells how to run a seed.
package sim
