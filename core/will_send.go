package core

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
)

const (
	// willTick is how often delayed wills that are due are looked for.
	willTick = 200 * time.Millisecond
	// willsAtOnce is how many are sent together at the most, and willBytes how many
	// bytes of messages, or one will.
	willsAtOnce = 256
	willBytes   = 1 << 20
)

// sendDueWills is the loop that sends delayed wills.
func (b *Broker) sendDueWills(ctx context.Context) work.Loop {
	return work.Every("wills", b.deps.Clock, willTick, ctx.Done(), func(now time.Time) {
		for ctx.Err() == nil {
			due := b.wills.take(now, willsAtOnce)
			if len(due) == 0 {
				return
			}
			b.sendWills(due)
		}
	}, nil)
}

// sendWills publishes wills that were claimed, all of one shard. Those for which there is
// no room wait; all others are gone, and not sent again.
func (b *Broker) sendWills(ws []*will) {
	for len(ws) > 0 {
		n, err := b.sendSome(ws)
		if err != nil {
			// It is not known what happened, or the log has failed: the next start finds out.
			// They stay claimed and in their slots, so that no later will takes their place.
			b.deps.Log.Error("wills not sent before the next start", slog.Int("wills", len(ws)), slog.Any("error", err))
			return
		}
		ws = ws[n:]
	}
}

// sendSome publishes the first of the wills and deletes them, in one change: a crash
// leaves each either as it was or sent. It returns how many these were.
func (b *Broker) sendSome(ws []*will) (n int, err error) {
	t := &Transaction{p: &Publisher{b: b}, parts: make([]part, len(b.shards)), limit: math.MaxInt, moves: newMoves(b)}
	defer t.moves.release()
	var sent uint64
	ended := make([]*will, 0, len(ws))
	for ; n < len(ws) && t.size < willBytes; n++ {
		w := ws[n]
		published, err := b.addWill(t, w)
		switch {
		case errors.Is(err, shard.ErrReserved) && n > 0: // of those before it
			return n, b.commitWills(t, ended, sent)
		case errors.Is(err, ErrPressure):
			b.wills.wait(w, b.deps.Clock.Now().Add(willRetry))
			continue
		case errors.Is(err, errHalf), errors.Is(err, ErrStorage), errors.Is(err, ErrClosed):
			return 0, err
		case err != nil:
			b.deps.Log.Warn("will not published", slog.String("client", w.value.Client), slog.Any("error", err))
		case published:
			sent++
		}
		t.parts[w.home].change.Values.Add(w.body(false))
		ended = append(ended, w)
	}
	return n, b.commitWills(t, ended, sent)
}

// addWill adds the publish of a will to a transaction; false when it may not be published.
func (b *Broker) addWill(t *Transaction, w *will) (published bool, err error) {
	v := &w.value
	if may := b.wills.guard(); may == nil || !may(WillOf{v.Namespace, v.Client, v.Owner, v.Key}) {
		return false, nil
	}
	if t.p.ns == nil || t.p.ns.name != v.Namespace {
		p, err := b.NewPublisher(v.Namespace, nil, nil)
		if err != nil {
			return false, err
		}
		t.p = p
	}
	m := w.message(b.deps.Clock.Now())
	if _, err := t.Publish(m); err != nil {
		return false, err
	}
	err = b.spilling(m, slices.Clone(t.moves.spilled), func(letter *Message) ([]spill, error) {
		if _, err := t.Publish(letter); err != nil {
			return nil, unlessNoPlace(err)
		}
		return slices.Clone(t.moves.spilled), nil
	})
	if err != nil {
		return false, errors.Join(err, errHalf)
	}
	return true, nil
}

// commitWills makes a transaction of wills take effect.
func (b *Broker) commitWills(t *Transaction, ended []*will, sent uint64) error {
	if len(ended) == 0 {
		return nil
	}
	if _, err := t.commit(); err != nil {
		return b.storageError(err)
	}
	b.counters.published.Add(t.count)
	b.counters.unroutable.Add(t.nowhere)
	b.counters.wills.Add(sent)
	for _, do := range t.later {
		do()
	}
	for _, w := range ended {
		b.wills.forget(w)
	}
	return nil
}

// restoreWills takes the wills that the shards recovered, those of a client by slot. A
// client that was connected when the broker ended has lost its connection now.
func (b *Broker) restoreWills(ctx context.Context, kept []map[uint32][]byte) error {
	for _, of := range kept {
		for _, slot := range slices.Sorted(maps.Keys(of)) {
			w := &will{key: willKey{slot: slot}}
			if err := record.DecodeWill(of[slot], &w.value); err != nil {
				return err
			}
			if err := b.restoreWill(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Broker) restoreWill(ctx context.Context, w *will) error {
	v := &w.value
	ns, err := b.namespace(v.Namespace)
	if errors.Is(err, ErrNotFound) {
		b.deps.Log.Warn("will of a namespace that does not exist is kept and not sent",
			slog.String("namespace", v.Namespace), slog.String("client", v.Client))
		return nil
	}
	if err != nil {
		return err
	}
	k := sessionKey{v.Namespace, v.Client}
	w.home, w.key.client = b.home(v.Namespace, []byte(v.Client)), record.WillSession(sessionID(k))
	b.wills.add(w)
	now := b.deps.Clock.Now()
	if v.Due == 0 || v.Due > now.UnixMilli() {
		if err := b.giveWill(ctx, ns, k, w); err != nil {
			return err
		}
	}
	switch {
	case v.Due != 0:
		b.wills.wait(w, time.UnixMilli(v.Due))
	case v.Wait == 0:
		b.wills.wait(w, now)
	default:
		b.delayWill(w, time.Duration(v.Wait)*time.Millisecond)
	}
	return nil
}

// giveWill gives a will to its client's session, if there is one: that does not rest then.
func (b *Broker) giveWill(ctx context.Context, ns *namespace, k sessionKey, w *will) error {
	s := b.sessions.byKey[k]
	if s == nil {
		s = b.sessions.wake(b, ns, k.client)
	}
	if s == nil {
		return nil
	}
	s.op.Lock()
	defer s.op.Unlock()
	s.will = w
	b.sessions.restLater(s) // once the will is sent
	return s.awaken(ctx, nil)
}
