package amqp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

const (
	// fillLimit is how much is unsent at most when a feed is asked for more;
	// one message may go beyond it.
	fillLimit = 256 << 10
	// replyLimit is how much may be unsent when the reader adds an answer.
	replyLimit = 512 << 10
)

// output is the sending side of a connection: answers from the reader and
// frames from feeds gather in one buffer, which the writer writes in one call.
type output struct {
	conn  net.Conn
	clock clock.Clock
	ready *ready
	began time.Time

	mu       sync.Mutex
	room     *sync.Cond // signalled when buf was taken or the writer is gone
	buf      []byte
	released bool // no more feeds: a close was appended
	finished bool // the writer ends once buf is written
	quiet    bool // no more deliveries: the server stops
	hasty    bool // nobody waits for room: the writer is gone, or the reader has to end
	// elapsed is the time since began, as of the turn in which deliveries are sent.
	elapsed time.Duration

	heartbeat atomic.Int64 // a time.Duration; 0 until it was settled, and for none

	// The writer's:
	turns []feed          // feeds that may have more
	batch []core.Delivery // room for what a consumer takes in its turn

	scratch []byte // for the translation of messages; guarded by mu
	stamped []byte // for properties of deliveries from streams; guarded by mu
}

func newOutput(conn net.Conn, clk clock.Clock) *output {
	o := &output{conn: conn, clock: clk, ready: newReady(), began: clk.Now()}
	o.room = sync.NewCond(&o.mu)
	return o
}

// reply appends a method. It waits while too much is unsent.
func (o *output) reply(channel uint16, m wire.Method) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitRoom()
	o.appendMethod(channel, m)
}

// appendMethod is reply for who holds the lock and can't wait.
func (o *output) appendMethod(channel uint16, m wire.Method) {
	if !o.released {
		o.buf = wire.AppendMethod(o.open(), channel, m)
	}
}

// open returns the buffer to append to.
func (o *output) open() []byte {
	if o.buf == nil {
		o.buf = newBuffer()
	}
	return o.buf
}

// waitRoom waits, with the lock held, until little enough is unsent.
func (o *output) waitRoom() {
	for len(o.buf) > replyLimit && !o.hasty {
		o.ready.signal()
		o.room.Wait()
	}
}

// release appends a method as the last one but a close-ok: feeds get no turn any more.
func (o *output) release(m wire.Method) {
	o.mu.Lock()
	o.appendMethod(0, m)
	o.released = true
	o.mu.Unlock()
	o.ready.signal()
}

// finish makes the writer end when all is written. The bytes are appended
// whatever came before.
func (o *output) finish(last []byte) {
	o.mu.Lock()
	o.buf = append(o.open(), last...)
	o.released, o.finished = true, true
	o.mu.Unlock()
	o.ready.signal()
}

// setHeartbeat starts heartbeats.
func (o *output) setHeartbeat(d time.Duration) {
	o.heartbeat.Store(int64(d))
	o.ready.signal()
}

// run is the writer. It ends after finish, or with the error of a write, and
// then calls broken.
func (o *output) run(broken func(error)) {
	defer o.stopWaiting()
	timer := o.clock.NewTimer(time.Hour)
	defer timer.Stop()
	last := o.clock.Now() // when something was written
	for {
		buf, more, finished := o.collect()
		if len(buf) > 0 {
			if _, err := o.conn.Write(buf); err != nil {
				broken(err)
				return
			}
			last = o.clock.Now()
		}
		recycle(buf)
		if finished {
			return
		}
		if more {
			continue
		}
		var due <-chan time.Time
		if half := time.Duration(o.heartbeat.Load()) / 2; half > 0 {
			timer.Reset(last.Add(half).Sub(o.clock.Now()))
			due = timer.C
		}
		select {
		case <-o.ready.wake:
		case <-due:
			o.beat()
		}
	}
}

// collect gives feeds their turns and takes the buffer.
func (o *output) collect() (buf []byte, more, finished bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turns = o.ready.take(o.turns)
	if o.released {
		clear(o.turns)
		o.turns = o.turns[:0]
	}
	if len(o.turns) > 0 {
		o.tick()
	}
	served := 0
	for served < len(o.turns) && len(o.buf) < fillLimit {
		f := o.turns[served]
		served++
		f.announced().Store(false)
		var again bool
		if o.buf, again = f.fill(o.open(), fillLimit); again && !f.announced().Swap(true) {
			o.turns = append(o.turns, f)
		}
	}
	o.turns = append(o.turns[:0], o.turns[served:]...)
	buf, o.buf = o.buf, nil
	o.room.Broadcast()
	return buf, len(o.turns) > 0, o.finished
}

// tick sets the time of the deliveries that follow. The lock is held.
func (o *output) tick() { o.elapsed = o.clock.Now().Sub(o.began) }

func (o *output) beat() {
	o.mu.Lock()
	o.buf = wire.AppendHeartbeat(o.open())
	o.mu.Unlock()
}

// stopWaiting ends every wait for room, now and later.
func (o *output) stopWaiting() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitNoMore()
}

// waitNoMore is stopWaiting for who holds the lock.
func (o *output) waitNoMore() {
	o.hasty = true
	o.room.Broadcast()
}
