// Command tidegate is the Tidegate message broker and its tools.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command could not do what it was asked for
	exitUsage  = 2 // the command line or the configuration is wrong

	// Of check and segment, which fail with exitFailed for a wrong command line.
	exitDamaged = 2 // damage was found
	exitInUse   = 3 // the data directory is in use
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns what happened.
func (e *exitError) Unwrap() error { return e.err }

// usageError is a mistake in the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns what is wrong.
func (e *usageError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := exitOK
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tidegate:", err)
		code = exitCode(err)
	}
	stop()
	os.Exit(code)
}

func exitCode(err error) int {
	if own, ok := errors.AsType[*exitError](err); ok {
		return own.code
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// run executes one command line. It returns when the command is done or, for
// serve, when ctx is done and everything has been closed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var cli commands
	helped := false
	parser, err := kong.New(&cli,
		kong.Name("tidegate"),
		kong.Description("A durable message broker where MQTT and AMQP 0-9-1 clients meet."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stdout, (*io.Writer)(nil)),
		kong.Bind(&console{stdout: stdout, stderr: stderr, stdin: os.Stdin}))
	if err != nil {
		return fmt.Errorf("build command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case helped:
		return nil
	case err != nil && len(args) > 0 && (args[0] == "check" || args[0] == "segment"):
		return &exitError{exitFailed, err} // their code for damage is that for usage elsewhere
	case err != nil:
		return &usageError{err}
	}
	return parsed.Run()
}
