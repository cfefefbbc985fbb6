package main

import (
	"context"
	"net/http"
)

// pressureCommands are the commands about the marks of memory and disk.
type pressureCommands struct {
	Show pressureShow `cmd:"" help:"Show the marks, and whether publishers wait."`
	Set  pressureSet  `cmd:"" help:"Change marks until the broker ends."`
}

type pressureShow struct{ apiFlags }

// Run prints the marks.
func (c *pressureShow) Run(ctx context.Context, con *console) error {
	var marks map[string]any
	if err := c.call(ctx, http.MethodGet, "pressure", nil, &marks); err != nil {
		return err
	}
	return c.show(con.stdout, []map[string]any{marks},
		column{"MEMORY %", "memory_high_percent"}, column{"MEMORY BYTES", "memory_high_bytes"},
		column{"IN USE", "memory_in_use"}, column{"DISK %", "disk_free_percent"},
		column{"DISK BYTES", "disk_free_bytes"}, column{"FREE", "disk_free"}, column{"ALARM", "reason"})
}

type pressureSet struct {
	apiFlags
	MemoryHighPercent *int   `help:"Share of the memory from which on publishers wait; 0 does not watch." placeholder:"N"`
	MemoryHighBytes   *int64 `help:"That mark in bytes, whatever the percentage; 0 leaves it to that." placeholder:"N"`
	DiskFreePercent   *int   `help:"Free share of the disk below which publishers wait; 0 does not watch." placeholder:"N"`
	DiskFreeBytes     *int64 `help:"Free bytes below which they wait, if less; 0 leaves it to the percentage." placeholder:"N"`
	DiskWarnPercent   *int   `help:"Used share of the disk from which on a warning is told; 0 never." placeholder:"N"`
}

// Run changes the marks that are given.
func (c *pressureSet) Run(ctx context.Context) error {
	body := map[string]any{}
	give(body, "memory_high_percent", c.MemoryHighPercent)
	give(body, "memory_high_bytes", c.MemoryHighBytes)
	give(body, "disk_free_percent", c.DiskFreePercent)
	give(body, "disk_free_bytes", c.DiskFreeBytes)
	give(body, "disk_warn_percent", c.DiskWarnPercent)
	return c.call(ctx, http.MethodPut, "pressure", body, nil)
}

// give puts a value that was given into a body.
func give[T any](body map[string]any, name string, value *T) {
	if value != nil {
		body[name] = *value
	}
}
