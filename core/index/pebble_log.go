package index

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
)

// pebbleLog passes on what Pebble says, at debug level: it says a lot.
type pebbleLog struct {
	p   *Pebble // nil when nothing is written
	log *slog.Logger
}

func (l pebbleLog) Infof(format string, args ...any) {
	l.log.Debug("index", slog.String("message", fmt.Sprintf(format, args...)))
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("index", slog.String("message", fmt.Sprintf(format, args...)))
}

// pebbleFailure is what Fatalf panics with.
type pebbleFailure string

// Fatalf is called for a failure of the disk that Pebble can't go on after, as when it
// can't write its MANIFEST. Pebble expects that it does not return. In the background
// only that goroutine of Pebble's ends, with its locks given back: the store has failed,
// and takes and writes nothing more; the shard above stops as for every error of its
// disk. In a goroutine of ours there is nothing to go back to.
func (l pebbleLog) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	l.log.Error("index failed", slog.String("message", message))
	if l.p != nil && inBackground() {
		cause := errors.New(message)
		for _, arg := range args {
			if err, ok := arg.(error); ok {
				cause = err
			}
		}
		l.p.ended.Store(true)
		l.p.fail(cause)
		runtime.Goexit()
	}
	panic(pebbleFailure("index failed: " + message)) //nolint:forbidigo // the contract of pebble.Logger
}

// maxFrames is how deep a stack is looked through.
const maxFrames = 64

// inBackground tells whether nobody but Pebble has called.
func inBackground() bool {
	pcs := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // above Fatalf
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "github.com/tidegate/") {
			return false
		}
		if !more {
			return true
		}
	}
}
