package e2e

// mutation is a known bug, as a replacement in one file of the engine, and the
// part of the suite that has to see it.
type mutation struct {
	name     string
	file     string // from the root of the module
	old, new string // old occurs exactly once
	in       string // package, from the root of the module
	run      string // its tests
}

var mutations = []mutation{
	{
		"confirm before the sync", "core/replica/local.go",
		"if err := l.log.Append(b); err != nil {\n\t\treturn err\n\t}\n\tl.committed(b)\n\treturn nil",
		"l.committed(b)\n\treturn l.log.Append(b)",
		"core", "^(TestStorageErrorNeverConfirms|TestWhatAConfirmWaitsFor|TestRandomCrashes)$",
	},
	{
		"no sync of the log", "core/commitlog/log.go",
		"if b.Sync {", "if false {",
		"core", "^(TestConfirmedSurvivesCrash|TestRandomCrashes)$",
	},
	{
		"confirm after an error", "core/shard/append.go",
		"s.failed = fmt.Errorf(\"%w: %w\", ErrFailed, err)",
		"s.failed = fmt.Errorf(\"%w: %w\", ErrFailed, err)\n\t\ts.committed.Store(1 << 62)",
		"core", "^TestStorageErrorNeverConfirms$",
	},
	{
		"retry of a failed sync", "core/segment/writer.go",
		"if err := w.file.SyncData(); err != nil {",
		"err := w.file.SyncData()\n\tif err != nil {\n\t\terr = w.file.SyncData()\n\t}\n\tif err != nil {",
		"core/commitlog", "^(TestErrorPoisons|TestCrashEverywhere)$",
	},
	{
		"no poison after an error", "core/commitlog/log.go",
		"l.poison = fmt.Errorf(\"%w: %w\", ErrPoisoned, err)\n\treturn l.poison",
		"return fmt.Errorf(\"%w: %w\", ErrPoisoned, err)",
		"core/commitlog", "^TestErrorPoisons$",
	},
	{
		"no sync of directories", "core/segment/writer.go",
		"errors.Join(d.Sync(), d.Close())", "d.Close()",
		"core/commitlog", "^TestCrashEverywhere$",
	},
	{
		"no sync of a segment's header", "core/segment/writer.go",
		"if err := w.file.Sync(); err != nil {\n\t\treturn fmt.Errorf(\"sync header: %w\", err)\n\t}\n\t", "",
		"core/commitlog", "^TestCrashEverywhere$",
	},
	{
		"footer before its frames are durable", "core/segment/writer.go",
		"if w.synced < w.end {", "if false {",
		"core/commitlog", "^(TestCrashEverywhere|TestModel)$",
	},
	{
		"watermark above what is synced", "core/segment/writer.go",
		"w.end, w.next = pos+int64(h.Size()), h.Next()",
		"w.end, w.next = pos+int64(h.Size()), h.Next()\n\tw.synced = w.end",
		"core/commitlog", "^(TestCrashEverywhere|TestTornWrite|TestModel)$",
	},
	{
		"rot below the watermark is cut like a torn tail", "core/segment/resume.go",
		"rec.End >= rec.Watermark &&", "",
		"core/commitlog", "^TestBitFlips$",
	},
	{
		"a torn tail is kept", "core/commitlog/open.go",
		"if err := segment.Cut(l.cfg.FS, path, last); err != nil {\n\t\t\treturn err\n\t\t}",
		"last.Size, last.Damage = last.End, nil",
		"core/commitlog", "^(TestTornWrite|TestNothingBehindACutComesBack)$",
	},
	{
		"the cut copy is not synced", "core/segment/resume.go",
		"err = dst.Sync()", "err = nil",
		"core/commitlog", "^TestCrashWhileCutting$",
	},
	{
		"what is recovered is not made durable", "core/segment/resume.go",
		"if err := file.Sync(); err != nil {", "if err := error(nil); err != nil {",
		"core/commitlog", "^(TestRecoveredIsDurable|TestCrashEverywhere)$",
	},
	{
		"pages that a failed sync left clean are not written again", "core/segment/resume.go",
		"if _, err := file.WriteAt(p, pos); err != nil {", "if err := error(nil); err != nil {",
		"core/commitlog", "^TestRecoveredIsDurable$",
	},
	{
		"a segment of another chain is taken", "core/commitlog/judge.go",
		"h.Previous == c.chain", "true",
		"core/commitlog", "^(TestForeignSegment|TestMissingSegment|TestBitFlips)$",
	},
	{
		"manifest not synced", "core/commitlog/manifest_file.go",
		"err = f.Sync()", "err = nil",
		"core/commitlog", "^TestUpkeepCrashEverywhere$",
	},
	{
		"segments that are gone are not removed", "core/commitlog/drop.go",
		"l.unlink()\n\treturn nil\n}", "return nil\n}",
		"core/commitlog", "^(TestDrop|TestUpkeepCrashEverywhere)$",
	},
	{
		"segments removed before the manifest says so", "core/commitlog/drop.go",
		"if err := writeManifest(&l.cfg, m); err != nil {",
		"for _, f := range gone {\n\t\t_ = removeIfThere(l.cfg.FS, l.cfg.path(f.name()))\n\t}\n" +
			"\t_ = segment.SyncDir(l.cfg.FS, l.cfg.Dir)\n\tif err := writeManifest(&l.cfg, m); err != nil {",
		"core/commitlog", "^TestUpkeepCrashEverywhere$",
	},
	{
		"acks are not logged", "core/shard/commit.go",
		"if !p.stream.durable || len(s.ack.Ranges) == 0 {", "if true {",
		"core", "^(TestSettledStaysSettled|TestRandomCrashes)$",
	},
	{
		"the state is stored before its acks are durable", "core/shard/commit.go",
		"s.checkpoint.ready = sp\n",
		"if sp != nil {\n\t\tif err := s.write(sp); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n",
		"core/shard", "^(TestCheckpointAndReplayIsReplay|TestFlushBesideTheCommitter)$",
	},
	{
		"the state is stored as of a later record", "core/shard/checkpoint.go",
		"sp := &spill{applied: s.Committed(), flush: flush}",
		"sp := &spill{applied: s.lastAppended(), flush: flush}",
		"core", "^TestRandomCrashes$",
	},
	{
		"an index is replayed before the log is on the disk", "core/shard/recover.go",
		"if b.Base < last {", "if true {",
		"core/shard", "^TestReplayDoesNotOvertakeTheDisk$",
	},
	{
		"redelivered flag forgotten after a start", "core/queue/cursor.go",
		"return o, o < c.suspect, true", "return o, false, true",
		"core", "^(TestRandomCrashes|TestCrashRedeliversToSession)$",
	},
	{
		"delivery does not wait for its mark", "core/shard/places.go",
		"if !p.durable {", "if true {",
		"core", "^TestRandomCrashes$",
	},
	{
		"purge not logged", "core/shard/stream.go",
		"lsn, err := s.Append(record.KindAck, record.AppendAck(nil, &s.ack), nil)\n\treturn n, lsn, err",
		"return n, 0, nil",
		"core", "^TestPurgeIsDurable$",
	},
	{
		"exactly-once numbers forgotten by a checkpoint", "core/shard/apply.go",
		"s.pending.Set(index.OnceKey(m.Once), index.AppendLSN(nil, lsn))", "",
		"core/shard", "^TestCheckpointAndReplayIsReplay$",
	},
	{
		"a session's value is kept without its message", "core/session_rests.go",
		"case h.durable:", "case false:",
		"core/sim", "^TestPowerCutKeepsNoValueWithoutItsMessage$",
	},
	{
		"the decision of a transaction is not written", "core/shard/change.go",
		"\ts.appendAll(record.KindTransfer, &c.Transfers)\n", "",
		"core/sim", "^TestSim$",
	},
	{
		"a start leaves what was decided undone", "core/transaction_commit.go",
		"range source.OpenTransfers() {", "range source.OpenTransfers()[:0] {",
		"core/sim", "^TestSim$",
	},
	{
		"what was transferred is forgotten", "core/shard/transfer.go",
		"\treturn ok\n}\n\nfunc (t *transfers) begin", "\treturn ok && false\n}\n\nfunc (t *transfers) begin",
		"core/sim", "^TestSim$",
	},
	{
		"a dead letter moves and its message stays", "core/deadletters.go",
		"s.Offsets = append(s.Offsets, dead.Offset)", "_ = s",
		"core/sim", "^TestSim$",
	},
	{
		"deadlines forgotten by a checkpoint", "core/shard/deadlines.go",
		"s.pending.Set(index.DeadlineKey(f), value)", "",
		"core/sim", "^TestSim$",
	},
	{
		"a queue is one message too short", "core/shard/offer.go",
		"n += waiting + l.reserved.messages", "n += waiting + l.reserved.messages + 1",
		"core/sim", "^TestSim$",
	},
	{
		"order of redelivery lost", "core/queue/heap.go",
		"if s[up].offset <= s[i].offset {", "if s[up].offset >= s[i].offset {",
		"core", "^(TestRequeueGoesToItsOldPlace|TestRandomCrashes)$",
	},
	{
		"a start does not make the queue of what was decided", "core/transaction_commit.go",
		"if err := b.makeStreams(target, &t); err != nil {", "if err := error(nil); err != nil {",
		"core", "^TestWillIsSentOnceOverCrashes$",
	},
	{
		"no sync of the log, on a real disk", "core/commitlog/log.go",
		"if b.Sync {", "if false {",
		"e2e", "^TestNothingConfirmedIsLostByPowerCut$",
	},
	{
		"retry of a failed sync, on a real disk", "core/segment/writer.go",
		"if err := w.file.SyncData(); err != nil {",
		"err := w.file.SyncData()\n\tif err != nil {\n\t\terr = w.file.SyncData()\n\t}\n\tif err != nil {",
		"e2e", "^TestInjectedSyncErrorStopsTheShard$/fdatasync",
	},
}
