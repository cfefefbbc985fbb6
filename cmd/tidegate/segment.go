package main

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/cmd/tidegate/storage"
	"github.com/tidegate/tidegate/core/record"
)

// segmentCommands look at segment files.
type segmentCommands struct {
	Dump   dumpCommand   `cmd:"" help:"Show the records or the frames of segment files."`
	Verify verifyCommand `cmd:"" help:"Read all of segment files, or of a log's directory, and tell what is wrong."`
}

// dumpCommand shows what segment files hold.
type dumpCommand struct {
	Paths   []string   `arg:"" help:"Segment files, or directories of them." name:"file|dir" type:"path"`
	From    record.LSN `help:"First record to show." placeholder:"LSN"`
	To      record.LSN `help:"Last record to show." placeholder:"LSN"`
	Records bool       `help:"Show records, which is the default." xor:"level"`
	Frames  bool       `help:"Show frames." xor:"level"`
	Payload int        `help:"Show so many bytes of each payload." placeholder:"BYTES"`
	JSON    bool       `help:"Write one JSON object a line." name:"json"`
}

// Help is shown by --help.
func (*dumpCommand) Help() string {
	return `Reads one frame at a time, and goes on behind what is damaged.

Exit codes:
  0  all of it was read
  1  a file could not be read, or the command line is wrong
  2  damage found; what it is is written to the standard error`
}

// Run dumps.
func (c *dumpCommand) Run(con *console) error {
	files, err := storage.SegmentFiles(vfs.Default, c.Paths)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(con.stdout)
	d := storage.Dump{
		FS: vfs.Default, W: w, From: c.From, To: c.To, Frames: c.Frames, JSON: c.JSON, Payload: max(c.Payload, 0),
	}
	bad := 0
	for _, f := range files {
		findings, err := d.Run(f)
		if err = errors.Join(err, w.Flush()); err != nil {
			return err
		}
		bad += len(findings)
		for i := range findings {
			if _, err := fmt.Fprintln(con.stderr, findings[i].String()); err != nil {
				return err
			}
		}
	}
	if bad > 0 {
		return &exitError{exitDamaged, errDamaged}
	}
	return nil
}

// verifyCommand verifies segment files.
type verifyCommand struct {
	Paths []string `arg:"" help:"Segment files, or directories of them; that of a log is verified as a log." name:"file|dir" type:"path"`
	All   bool     `help:"Show every segment."`
	JSON  bool     `help:"Write the report as one JSON object." name:"json"`
}

// Help is shown by --help.
func (*verifyCommand) Help() string {
	return `Reads every frame. Nothing is changed. tidegate check compares the logs of a data directory with their index too.

Exit codes:
  0  sound
  1  a file could not be read, or the command line is wrong
  2  damage found`
}

// Run verifies.
func (c *verifyCommand) Run(con *console) error {
	bar := storage.NewProgress(con.stderr)
	report, err := storage.VerifyPaths(vfs.Default, c.Paths, bar.Update)
	bar.Finish()
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(con.stdout, report)
	} else {
		err = storage.WriteText(con.stdout, report, c.All)
	}
	if err != nil {
		return err
	}
	return damage(report)
}
