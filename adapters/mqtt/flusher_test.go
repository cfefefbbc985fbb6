package mqtt

import "testing"

// TestFlusherWaitsForStart: the engine tells of deliveries as soon as a session is
// open, which is before its CONNACK is in the output.
func TestFlusherWaitsForStart(t *testing.T) {
	started, ran := false, make(chan bool, 2)
	var f flusher
	f.run = func() {
		ran <- started // a data race when it runs too early
		for !f.rest() {
			ran <- started
		}
	}
	f.wake()
	started = true
	f.start()
	if !<-ran {
		t.Error("ran before the start")
	}
	f.close()
	if len(ran) != 0 {
		t.Error("what came before the start and the start itself are one run")
	}
}
