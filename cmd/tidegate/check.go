package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/cmd/tidegate/storage"
	"github.com/tidegate/tidegate/core/commitlog"
)

// errDamaged tells that a check found damage; what it is has been written.
var errDamaged = errors.New("damage found")

// checkCommand checks a data directory that no broker runs on.
type checkCommand struct {
	Config     string  `help:"YAML file that names the data directory (TIDEGATE_CONFIG)." placeholder:"FILE" type:"path"`
	Data       *string `help:"Data directory; default is that of the configuration." placeholder:"DIR"`
	AcceptLoss bool    `help:"Give up what is lost, after it was named and confirmed; damaged files go to quarantine."`
	Yes        bool    `help:"Confirm --accept-loss without being asked."`
	All        bool    `help:"Show every segment."`
	JSON       bool    `help:"Write the report as one JSON object." name:"json"`
}

// Help is shown by --help.
func (*checkCommand) Help() string {
	return `Reads every frame of every shard's log, the index and the copy of the metadata. Nothing is changed without --accept-loss.

Exit codes:
  0  sound, or made so by --accept-loss
  1  the check could not be done, or the command line is wrong
  2  damage found
  3  a broker or another check uses the directory`
}

// Run checks.
func (c *checkCommand) Run(ctx context.Context, con *console) (err error) {
	if c.JSON && c.AcceptLoss && !c.Yes {
		return &exitError{exitFailed, errors.New("check: --json can't ask; add --yes")}
	}
	cfg, err := loadConfig(&settings{Config: c.Config, Data: c.Data})
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "log")); err != nil {
		return fmt.Errorf("no data directory of a broker: %w", err)
	}
	var held closers
	defer func() { err = errors.Join(err, held.close()) }()
	if err := lockData(cfg.Data, &held); err != nil {
		return &exitError{exitInUse, err}
	}
	report, err := c.check(ctx, con, cfg.Data)
	if err != nil {
		return err
	}
	if c.AcceptLoss {
		if report, err = c.accept(ctx, con, cfg.Data, report); err != nil {
			return err
		}
	}
	if err := c.print(con.stdout, report); err != nil {
		return err
	}
	return damage(report)
}

func damage(r *storage.Report) error {
	if r.Sound {
		return nil
	}
	return &exitError{exitDamaged, errDamaged}
}

func (c *checkCommand) check(ctx context.Context, con *console, data string) (*storage.Report, error) {
	bar := storage.NewProgress(con.stderr)
	defer bar.Finish()
	return storage.Check(ctx, storage.Options{
		FS: vfs.Default, Data: data,
		Progress: func(shard uint32, p commitlog.Progress) {
			bar.Update(fmt.Sprintf("shard %d", shard), p.Done, p.Total)
		},
	})
}

func (c *checkCommand) print(w io.Writer, r *storage.Report) error {
	if !c.JSON {
		return storage.WriteText(w, r, c.All)
	}
	return writeJSON(w, r)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// maxRounds bounds how often what was accepted brings further damage to light.
const maxRounds = 4

// accept gives up what is lost until nothing is, and returns the last report.
func (c *checkCommand) accept(ctx context.Context, con *console, data string, r *storage.Report) (*storage.Report, error) {
	for round := range maxRounds {
		losses := storage.Losses(r)
		if len(losses) == 0 {
			return r, nil
		}
		plan, err := storage.Plan(vfs.Default, r, losses)
		if err != nil {
			return nil, &exitError{exitDamaged, errors.Join(err, c.print(con.stdout, r))}
		}
		if err := c.confirm(con, losses, round > 0); err != nil {
			return nil, err
		}
		if err := plan.Carry(); err != nil {
			return nil, err
		}
		if r, err = c.check(ctx, con, data); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// confirm names what will be given up and has it confirmed. more tells that something
// was given up before, and brought this to light.
func (c *checkCommand) confirm(con *console, losses []storage.Loss, more bool) error {
	var b strings.Builder
	if more {
		b.WriteString("That is done, and shows more. ")
	}
	b.WriteString("To be given up, for good:\n")
	for i := range losses {
		fmt.Fprintf(&b, "  %s\n", losses[i].String())
	}
	b.WriteString("Damaged files are moved to quarantine, everything else stays.\n")
	if _, err := io.WriteString(con.stderr, b.String()); err != nil {
		return err
	}
	if c.Yes {
		return nil
	}
	if !storage.IsTerminal(con.stdin) {
		return &exitError{exitDamaged, errors.New("not confirmed: this is no terminal; add --yes to give it up")}
	}
	if _, err := io.WriteString(con.stderr, `Type "yes" to give it up: `); err != nil {
		return err
	}
	answer, err := bufio.NewReader(con.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	switch {
	case strings.TrimSpace(answer) == "yes":
		return nil
	case more:
		return &exitError{exitDamaged, errors.New("not confirmed: nothing more was changed")}
	}
	return &exitError{exitDamaged, errors.New("not confirmed: nothing was changed")}
}
