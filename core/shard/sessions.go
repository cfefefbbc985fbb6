package shard

import (
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// applySession puts a session record into the store, and notes it while recovering, see
// EachSession; later the broker has the sessions that there is more to know of.
func (s *Shard) applySession(kind record.Kind, body []byte, lsn record.LSN) error {
	if err := s.storeSession(kind, body, lsn); err != nil || !s.recovering {
		return err
	}
	return s.foldSession(kind, body)
}

func (s *Shard) storeSession(kind record.Kind, body []byte, lsn record.LSN) error {
	switch kind {
	case record.KindSession, record.KindSessionDrop:
		var r record.Session
		if err := record.DecodeSession(body, &r); err != nil {
			return err
		}
		if kind == record.KindSession {
			s.pending.Set(index.SessionKey(r.ID), body)
			s.says(index.SessionThing(r.ID), lsn)
			return nil
		}
		s.pending.Delete(index.SessionKey(r.ID))
		s.pending.DeletePrefix(index.SubscriptionKey(r.ID, ""))
		s.pending.DeletePrefix(index.ValuesKey(r.ID))
		s.ended(index.SessionThing(r.ID), lsn)
	case record.KindSubscription, record.KindSubscriptionDrop:
		var r record.Subscription
		if err := record.DecodeSubscription(body, &r); err != nil {
			return err
		}
		thing := index.SubscriptionThing(r.Session, r.Filter)
		if kind == record.KindSubscription {
			s.pending.Set(index.SubscriptionKey(r.Session, r.Filter), body)
			s.says(thing, lsn)
		} else {
			s.pending.Delete(index.SubscriptionKey(r.Session, r.Filter))
			s.ended(thing, lsn)
		}
	default:
		var r record.Value
		if err := record.DecodeValue(body, &r); err != nil {
			return err
		}
		if r.Present {
			s.pending.Set(index.ValueKey(r.Session, r.Key), body)
			s.says(index.ValueThing(r.Session, r.Key), lsn)
		} else {
			s.pending.Delete(index.ValueKey(r.Session, r.Key))
			s.ended(index.ValueThing(r.Session, r.Key), lsn)
		}
	}
	return nil
}
