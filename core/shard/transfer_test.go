package shard

import (
	"slices"
	"testing"

	"github.com/tidegate/tidegate/core/record"
)

// decide makes a change that has a transfer for another shard, and returns its number.
func (u *upkept) decide(body string) record.LSN {
	u.t.Helper()
	var c Change
	c.Messages.AddMessage(&record.Message{Namespace: []byte("/"), Streams: []record.StreamID{1}, Payload: make([]byte, 200)})
	c.Transfers.AddTransfer(&record.Transfer{Target: 1, Messages: [][]byte{[]byte(body)}})
	done, err := u.Change(&c)
	must(u.t, err)
	must(u.t, u.Await(done.LSN))
	return done.Transfers
}

// TestOpenTransfersStay rewrites the log behind transfers, of which some are done,
// and looks that the index and the log alone know which are not.
func TestOpenTransfersStay(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.queue(2, true)
	first := u.decide("first")
	second := u.decide("second")
	third := u.decide("third")
	u.publish(500, to(2))
	must(t, u.TransferDone(second))
	u.drain(1)
	u.drain(2)
	u.publish(500, to(2))
	u.drain(2)
	u.settle()
	u.atMost("all settled", 3)
	if got, want := u.OpenTransfers(), []record.LSN{first, third}; !slices.Equal(got, want) {
		t.Fatalf("open transfers: got %v, want %v", got, want)
	}
	s := u.rebuilt()
	if got, want := s.OpenTransfers(), []record.LSN{first, third}; !slices.Equal(got, want) {
		t.Errorf("open transfers without the index: got %v, want %v", got, want)
	}
	if transfer, err := s.Transfer(third); err != nil || transfer.Target != 1 || string(transfer.Messages[0]) != "third" {
		t.Errorf("the third transfer: got %+v, %v", transfer, err)
	}
}

// TestTransfersLeaveNothingBehind has transfers come and be done for ever, two at a
// time, over an old message that is held.
func TestTransfersLeaveNothingBehind(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.queue(9, true)
	u.publish(2*smallSegment/200, to(9))
	for range 20 {
		for range 50 {
			a, b := u.decide("a"), u.decide("b")
			must(t, u.TransferDone(a))
			must(t, u.TransferDone(b))
			// What another shard has transferred here is forgotten likewise.
			_, err := u.CarryOut(&record.Transfer{}, &record.TransferRef{Source: 3, Number: a, Open: a}, false)
			must(t, err)
		}
		u.drain(1)
		u.settle()
	}
	u.atMost("all done", 6)
	if got := u.OpenTransfers(); len(got) > 0 {
		t.Errorf("open transfers: %v", got)
	}
	s := u.rebuilt()
	if got := s.OpenTransfers(); len(got) > 0 {
		t.Errorf("open transfers without the index: %v", got)
	}
	if n := len(s.transfers.here[3]); n != 1 {
		t.Errorf("%d transfers of shard 3 are remembered, want the last", n)
	}
}

// TestTransferTakesEffectOnce carries a transfer out twice, with a start in between.
func TestTransferTakesEffectOnce(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	last := u.publish(3, to(1))
	must(t, u.Await(last))
	message := record.AppendMessage(nil, &record.Message{Namespace: []byte("/"), Streams: []record.StreamID{1}, Payload: make([]byte, 200)})
	ack := record.AppendAck(nil, &record.Ack{Stream: 1, Ranges: []record.Range{{First: 1, End: 2}, {First: 70, End: 1 << 60}}})
	transfer := record.Transfer{Acks: [][]byte{ack}, Messages: [][]byte{message}}
	of := &record.TransferRef{Source: 2, Number: 40, Open: 40}
	for range 2 {
		lsn, err := u.CarryOut(&transfer, of, false)
		must(t, err)
		must(t, u.Await(lsn))
	}
	s := u.rebuilt()
	lsn, err := s.CarryOut(&transfer, of, false)
	must(t, err)
	must(t, s.Await(lsn))
	st, err := s.QueueStats(1)
	must(t, err)
	if st.Ready != 3 {
		t.Errorf("the queue has %d messages, want 3 of 4", st.Ready)
	}
}
