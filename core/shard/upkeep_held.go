package shard

import (
	"context"
	"errors"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// maxFiredOver bounds the notes of fire records that a census finds to be of no use.
const maxFiredOver = 1 << 16

// heldMessage keeps a message that is held, or was until it was due and is needed where
// it is since. It stays as it is: fire records name it.
func (k *keeper) heldMessage(lsn record.LSN, body []byte) (record.Kind, []byte, error) {
	m := &k.msg
	if err := record.DecodeMessage(body, m); err != nil {
		return 0, nil, err
	}
	needed, err := k.heldNeeded(lsn)
	once := false
	if err == nil && m.Once.Session != 0 {
		once, err = k.refers(index.OnceKey(m.Once), lsn)
	}
	if err != nil || !needed && !once {
		return 0, nil, err
	}
	k.live++
	k.onces = k.onces || m.Once.Session != 0
	if !needed { // a message of no stream tells of its number, is not held, and retained nowhere
		m.Retain = false
		body = record.AppendMessage(nil, m)
		k.body = record.AppendPlaced(k.body[:0], nil, body)
		return record.KindPlaced, k.body, nil
	}
	return record.KindHeld, body, nil
}

// heldNeeded tells whether a message is held, or was and is needed since.
func (k *keeper) heldNeeded(lsn record.LSN) (bool, error) {
	is, err := k.exists(index.HeldKey(lsn))
	if is || err != nil {
		return is, err
	}
	return k.neededFired(lsn)
}

// neededFired tells whether a message that was due is needed since.
func (k *keeper) neededFired(lsn record.LSN) (needed bool, err error) {
	err = k.snap.Scan(index.FiredOfKey(lsn), func(key, v []byte) error {
		is, err := k.firedNeeded(key, v)
		if needed = is; is && err == nil {
			return errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return needed, err
}

// firedNeeded tells whether what the index knows of a fire record is needed.
func (k *keeper) firedNeeded(key, v []byte) (bool, error) {
	f := &k.fired
	if err := index.DecodeFired(v, f); err != nil {
		return false, err
	}
	for i, id := range f.Streams {
		of, err := k.view(id)
		if err != nil {
			return false, err
		}
		if of == nil {
			continue
		}
		if needs, err := of.keeps(k.snap, f.Offsets[i]); needs || err != nil {
			return needs, err
		}
	}
	if !f.Retain {
		return false, nil
	}
	fire, err := index.Uint64(key, 1)
	if err != nil {
		return false, err
	}
	return k.refers(index.RetainedKey(f.Namespace, f.Topic), record.LSN(fire))
}

// fireRecord keeps a fire record that a stream needs, with its places, and one that
// says what became of the held message.
func (k *keeper) fireRecord(lsn record.LSN, body []byte, given []record.Place) (record.Kind, []byte, error) {
	if err := record.DecodeFire(body, &k.fire); err != nil {
		return 0, nil, err
	}
	m := &k.fire.Message
	needed, ends, err := k.needs(lsn, m, given)
	if err == nil && !needed && !ends {
		ends, err = k.endsHeld(&k.fire)
	}
	switch {
	case err != nil:
		return 0, nil, err
	case needed:
		k.live++
	case ends:
		k.ends++
	default:
		return 0, nil, nil
	}
	k.retains = k.retains || m.Retain && m.PayloadSize() > 0
	k.body = record.AppendPlacedFire(k.body[:0], k.places, body)
	return record.KindPlacedFire, k.body, nil
}

// endsHeld tells whether a fire record says what no other one does: that a message is
// not held any more which an older segment may have, or when it is due again.
func (k *keeper) endsHeld(f *record.Fire) (bool, error) {
	if f.Next == 0 {
		return k.endsBody(f.Body)
	}
	v, err := k.snap.Get(index.HeldKey(f.Body))
	if errors.Is(err, index.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	due, err := index.DecodeDue(v)
	return due == f.Next, err
}

// endsBody tells whether a record that ends a held message is to be kept: that may be in
// an older segment, or is among what is rewritten, since it is needed where it went.
func (k *keeper) endsBody(of record.LSN) (bool, error) {
	if !k.oldest {
		return true, nil
	}
	return k.neededFired(of)
}

// held counts a message that is held.
func (c *counter) held(_ index.Snapshot, k, _ []byte) error {
	lsn, err := index.Uint64(k, 0)
	if err == nil {
		c.refer(record.LSN(lsn))
	}
	return err
}

// fired counts a message that was held, as far as it is needed since, and notes what is
// of no use.
func (c *counter) fired(_ index.Snapshot, k, v []byte) error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	needed, err := c.keeper.firedNeeded(k, v)
	if err != nil {
		return err
	}
	if !needed {
		if len(c.over) < maxFiredOver {
			c.over = append(c.over, slices.Clone(k))
		}
		return nil
	}
	return c.held(nil, k, nil)
}

// forgetFired takes what a census found to be of no use out of the store.
func (s *Shard) forgetFired(over [][]byte) {
	for some := range slices.Chunk(over, overSlice) {
		s.mu.Lock()
		for _, key := range some {
			s.pending.Delete(key)
		}
		s.mu.Unlock()
	}
}
