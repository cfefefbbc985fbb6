package core

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// moves is the room for dead letters in queues that refuse what is too much.
type moves struct {
	b       *Broker
	room    []*shard.Reservation // by shard; nil where none is needed yet
	refused []record.StreamID    // scratch
	spilled []spill              // queues that refused the last message and make dead letters of that
}

func newMoves(b *Broker) *moves { return &moves{b: b, room: make([]*shard.Reservation, len(b.shards))} }

// sift takes room for a message, and leaves in its parts the queues that have some. A
// message that is to go to all of its queues goes to none then, with ErrFull. After
// shard.ErrReserved the transaction has to be committed first.
func (mv *moves) sift(m *Message, parts []planPart) ([]planPart, error) {
	mv.spilled = mv.spilled[:0]
	left := make([]planPart, 0, len(parts))
	for _, part := range parts {
		var refused []record.StreamID
		if part.refuses {
			var err error
			refused, err = mv.at(part.shard).Add(part.streams, len(m.Payload), m.spilled, mv.refused[:0])
			if err != nil {
				mv.cancel(left, len(m.Payload))
				return nil, mv.b.storageError(err)
			}
			mv.refused = refused
			mv.spilled = part.appendSpills(mv.spilled, refused)
		}
		if len(refused) > 0 {
			part = part.without(refused)
		}
		if len(part.streams) > 0 {
			left = append(left, part)
		}
		if m.whole && len(refused) > 0 {
			mv.cancel(left, len(m.Payload))
			return nil, ErrFull
		}
	}
	return left, nil
}

// at returns the room in the queues of a shard.
func (mv *moves) at(i uint32) *shard.Reservation {
	if mv.room[i] == nil {
		mv.room[i] = mv.b.shards[i].NewReservation()
	}
	return mv.room[i]
}

// cancel gives back what was taken for a message.
func (mv *moves) cancel(parts []planPart, size int) {
	for i := range parts {
		if parts[i].refuses {
			mv.at(parts[i].shard).Cancel(parts[i].streams, size)
		}
	}
}

// release gives all of the room back.
func (mv *moves) release() {
	for _, r := range mv.room {
		if r != nil {
			r.Release()
		}
	}
}

// without returns the part without some of its streams.
func (part *planPart) without(gone []record.StreamID) planPart {
	left := *part
	left.streams, left.ttls, left.highest = nil, nil, nil
	for i, id := range part.streams {
		if slices.Contains(gone, id) {
			continue
		}
		left.streams = append(left.streams, id)
		if part.ttls != nil {
			left.ttls = append(left.ttls, part.ttls[i])
		}
	}
	return left
}
