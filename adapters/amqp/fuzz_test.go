package amqp_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// FuzzConnection sends bytes behind a login, all at once and then the end: the
// broker answers with frames that can be read, and closes; a panic would end
// the test.
func FuzzConnection(f *testing.F) {
	for _, tc := range malformedCases(f) {
		f.Add(malformed(f, tc.send))
	}
	for _, lines := range [][][]string{
		{{"1", "queue.declare", "Queue=q"}, {"1", "basic.publish", "RoutingKey=q"}},
		{{"1", "confirm.select"}, {"1", "tx.select"}},
		{{"1", "queue.declare", "Queue=q"}, {"1", "basic.consume", "Queue=q"}, {"1", "basic.cancel", "ConsumerTag=a"}},
	} {
		var send []byte
		for _, line := range lines {
			send = append(send, encode(f, line)...)
		}
		f.Add(wire.AppendContent(send, 1, 0, []byte{0, 0}, []byte("abc")))
	}
	h := newHarness(f)
	f.Fuzz(func(t *testing.T, send []byte) {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		defer func() { _ = conn.Close() }()
		r := &raw{t: t, conn: conn, reader: wire.NewReader(conn, 1<<20)}
		r.login("guest")
		if _, err := r.conn.Write(send); err != nil {
			return // the broker has closed, as it may
		}
		if half, ok := r.conn.(*net.TCPConn); !ok || half.CloseWrite() != nil {
			return
		}
		for {
			_, err := r.read()
			switch {
			case err == nil:
				continue
			case errors.Is(err, os.ErrDeadlineExceeded):
				t.Fatal("the broker does not close the connection")
			case errors.Is(err, io.EOF), isReset(err):
				return
			}
			t.Fatalf("the broker's answer can't be read: %v", err)
		}
	})
}

// isReset tells that the broker closed a connection on which bytes still came.
func isReset(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}
