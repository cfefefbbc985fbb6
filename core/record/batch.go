package record

// Batch is a run of records with consecutive LSNs: the unit of group commit,
// compression, checksum and replication. The zero value is an empty batch. It
// is not safe for concurrent use.
type Batch struct {
	// Base is the LSN of the first record.
	Base LSN
	// Term and Index place the batch in the replicated log.
	Term, Index uint64
	// First and Last are the times of the first and the last record, unix
	// milliseconds.
	First, Last int64
	// Raw holds the records one after the other. Records returned by
	// [Batch.Record] alias it.
	Raw []byte
	// Ends holds the end of each record in Raw.
	Ends []uint32
	// Sync asks that the batch is on stable storage before it is committed.
	Sync bool
}

// Len is the number of records.
func (b *Batch) Len() int { return len(b.Ends) }

// Next is the LSN behind the last record.
func (b *Batch) Next() LSN { return b.Base + LSN(len(b.Ends)) }

// Record returns the kind and the body of record i, which must be below Len.
// The body is valid until the batch is changed.
func (b *Batch) Record(i int) (Kind, []byte) {
	start := uint32(0)
	if i > 0 {
		start = b.Ends[i-1]
	}
	end := b.Ends[i]
	return Kind(b.Raw[start]), b.Raw[start+1 : end : end]
}

// Begin opens a record. The caller then appends the body to Raw, and calls
// End before anything else.
func (b *Batch) Begin(kind Kind) { b.Raw = append(b.Raw, byte(kind)) }

// End closes the record that Begin opened.
func (b *Batch) End() { b.Ends = append(b.Ends, uint32(len(b.Raw))) }

// Reset empties the batch and keeps its buffers.
func (b *Batch) Reset() { *b = Batch{Raw: b.Raw[:0], Ends: b.Ends[:0]} }
