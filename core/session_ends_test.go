package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate/tidegate/metadata"
)

// TestNamespaceEndsSessionsThatComeToRest has sessions rest while their namespace is being
// deleted: one that is made later under its name meets none of them.
func TestNamespaceEndsSessionsThatComeToRest(t *testing.T) {
	x := newBed(t)
	_, err := x.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"})
	x.must(err)
	const n = 20
	for i := range n {
		s, _, err := x.OpenSession(t.Context(), "n", spec(fmt.Sprint("c", i), time.Hour))
		x.must(err)
		_, err = s.Subscribe(t.Context(), []SubscriptionSpec{{Filter: fmt.Sprint("a/", i), QoS: 1}})
		x.must(err)
		x.must(s.Close(t.Context()))
	}
	x.sessions.mu.Lock()
	var all []*session
	for _, s := range x.sessions.byKey {
		all = append(all, s)
	}
	x.sessions.mu.Unlock()
	x.rest(n)
	for _, s := range all { // as those that were found in memory just before
		x.must(x.endSession(t.Context(), s))
	}
	if left := x.sessions.count(); left > 0 {
		t.Errorf("%d sessions are left that came to rest", left)
	}
}

// TestSessionsOfANamespaceThatIsGone ends those that rest, too.
func TestSessionsOfANamespaceThatIsGone(t *testing.T) {
	x := newBed(t)
	_, err := x.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"})
	x.must(err)
	for i := range 3 {
		s, _, err := x.OpenSession(t.Context(), "n", spec(fmt.Sprint("c", i), time.Hour))
		x.must(err)
		_, err = s.Subscribe(t.Context(), []SubscriptionSpec{{Filter: "a", QoS: 1}})
		x.must(err)
		x.must(s.Close(t.Context()))
	}
	x.rest(3)
	_, err = x.cat.DeleteNamespace(t.Context(), "n")
	x.must(err)
	x.must(x.EndSessions(t.Context(), "n"))
	if left := x.sessions.count(); left > 0 {
		t.Errorf("%d sessions are left of a namespace that is deleted", left)
	}
	if n := x.Stats().Streams; n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// TestRestingSessionOfANamespaceMadeAgain connects to one that was left behind: it gets
// what is published from then on.
func TestRestingSessionOfANamespaceMadeAgain(t *testing.T) {
	x := newBed(t)
	_, err := x.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"})
	x.must(err)
	s, _, err := x.OpenSession(t.Context(), "n", spec("c", time.Hour))
	x.must(err)
	_, err = s.Subscribe(t.Context(), []SubscriptionSpec{{Filter: "a", QoS: 1}})
	x.must(err)
	x.must(s.Close(t.Context()))
	x.rest(1)
	_, err = x.cat.DeleteNamespace(t.Context(), "n")
	x.must(err)
	_, err = x.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"})
	x.must(err)
	s, _, err = x.OpenSession(t.Context(), "n", spec("c", time.Hour))
	x.must(err)
	x.sendIn("n", &Message{Key: []byte("a"), Payload: []byte("1")})
	x.expect(s, "1")
}

// TestRefusedConnectLeavesASessionAtRest tries to take sessions of somebody else.
func TestRefusedConnectLeavesASessionAtRest(t *testing.T) {
	x := newBed(t)
	x.leave("dev", time.Hour, SubscriptionSpec{Filter: "a", QoS: 1})
	x.rest(1)
	ns, err := x.namespace("/")
	x.must(err)
	version := ns.version.Load()
	other := spec("dev", time.Hour)
	other.Owner = "mallory"
	if _, _, err := x.OpenSession(t.Context(), "/", other); err == nil {
		t.Fatal("taken by another principal")
	}
	if n := x.awake(); n != 0 || ns.version.Load() != version {
		t.Errorf("after a refusal: %d sessions in memory, routes changed by %d", n, ns.version.Load()-version)
	}
	refused := spec("dev", time.Hour)
	refused.Admit = func([]Subscription) error { return ErrInvalid }
	if _, _, err := x.OpenSession(t.Context(), "/", refused); err == nil {
		t.Fatal("admitted")
	}
	x.rest(1)
	x.publish("a", "1")
	x.expect(x.attach("dev", time.Hour, true), "1")
}

// TestRetainedValueSetMeanwhile sets a value while a subscription asks for it: once it has
// come as a message it does not come as a retained one too, and a publish that was
// routed before the subscription comes as a retained one.
func TestRetainedValueSetMeanwhile(t *testing.T) {
	x := newBed(t)
	retained := func(payload string) *Message {
		return &Message{
			Format: FormatMQTT, Exchange: []byte(TopicExchange), Key: []byte("a"), Payload: []byte(payload), QoS: 1, Retain: true,
		}
	}
	x.send(retained("old"))
	settled := make(chan struct{}, 1)
	p, err := x.NewPublisher("/", nil, func() {
		select {
		case settled <- struct{}{}:
		default:
		}
	})
	x.must(err)
	defer p.Close()
	m := retained("routed before")
	pl, err := p.route(m) // and then the publisher waits for room in the batch
	x.must(err)
	s := x.attach("c", time.Hour, false)
	_, err = s.Subscribe(t.Context(), []SubscriptionSpec{{Filter: "a", QoS: 1, Retained: true}})
	x.must(err)
	_, err = p.append(m, pl, pl.stored)
	x.must(err)
	for seq, n := p.tracker.next(), uint64(0); n < seq; {
		<-settled
		n, err = p.Settled()
		x.must(err)
	}
	got, err := s.Next(nil, 10)
	x.must(err)
	if len(got) != 1 || string(got[0].Message.Payload) != "routed before" || !got[0].Retained {
		t.Fatalf("took %+v, want the value that was routed before the subscription", got)
	}
	_, err = s.Subscribe(t.Context(), []SubscriptionSpec{{Filter: "a", QoS: 1, Retained: true}})
	x.must(err)
	x.send(retained("new"))
	got, err = s.Next(nil, 10)
	x.must(err)
	if len(got) != 1 || string(got[0].Message.Payload) != "new" || got[0].Retained {
		t.Fatalf("took %+v, want the new value once, as a message", got)
	}
}
