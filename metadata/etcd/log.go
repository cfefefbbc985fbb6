package etcd

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// slogCore passes what etcd logs through zap to a [slog.Logger], at the level
// that etcd gave it and from a threshold on.
type slogCore struct {
	zapcore.LevelEnabler
	log *slog.Logger
}

// zapLogger makes etcd's logger. etcd ends the process on errors such as a
// failed sync of its own log; here only the goroutine that met the error ends,
// so that the broker keeps serving with its metadata unavailable.
func zapLogger(log *slog.Logger, from zapcore.LevelEnabler) *zap.Logger {
	return zap.New(&slogCore{LevelEnabler: from, log: log.With(slog.String("part", "etcd"))},
		zap.WithFatalHook(zapcore.WriteThenGoexit), zap.WithPanicHook(zapcore.WriteThenGoexit))
}

func errorLevel() zap.AtomicLevel { return zap.NewAtomicLevelAt(zapcore.ErrorLevel) }

// With returns a core whose entries carry the fields too.
func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	args := make([]any, 0, len(fields))
	for _, a := range attrs(fields) {
		args = append(args, a)
	}
	return &slogCore{LevelEnabler: c.LevelEnabler, log: c.log.With(args...)}
}

// harmless are messages that a new server logs as errors for a moment, until
// its first entry is applied.
var harmless = map[string]bool{
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
}

// Check adds the core to an entry that it wants.
func (c *slogCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !harmless[e.Message] {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write logs an entry.
func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelInfo
	switch {
	case e.Level >= zapcore.ErrorLevel:
		level = slog.LevelError
	case e.Level == zapcore.WarnLevel:
		level = slog.LevelWarn
	}
	record := append([]slog.Attr{slog.String("message", e.Message)}, attrs(fields)...)
	c.log.LogAttrs(context.Background(), level, "etcd says", record...)
	return nil
}

// Sync has nothing to flush.
func (c *slogCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	encoder := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(encoder)
	}
	for key, value := range encoder.Fields {
		out = append(out, slog.Any(strings.ReplaceAll(key, "-", "_"), value))
	}
	return out
}
