package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// api sends a request to the management API and reads an answer that is an object.
func (b *broker) api(method, path, body string) map[string]any {
	b.t.Helper()
	req, err := http.NewRequestWithContext(within(b.t), method, "http://"+b.HTTP+"/api/"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		b.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	var o map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return o
}

// TestPolicies has policies bound a queue that is there, over a crash, and close
// the channel of a consumer that does not acknowledge.
func TestPolicies(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	fill := func() {
		t.Helper()
		ch := openChannel(t, b.AMQP)
		durableQueue(t, ch, "jobs")
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")}
			done, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "jobs", true, false, message)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := done.WaitContext(within(t)); err != nil || !ok {
				t.Fatalf("confirm: %v %v", ok, err)
			}
		}
	}
	bounded := func(want float64) {
		t.Helper()
		if q := b.api(http.MethodGet, "queues/%2F/jobs", ""); q["messages"] != want || q["policy"] != "short" {
			t.Errorf("got %v messages under policy %v, want %v under short", q["messages"], q["policy"], want)
		}
	}
	fill()
	b.api(http.MethodPut, "policies/%2F/short", `{"pattern":"^jobs$","apply-to":"queues","definition":{"max-length":3}}`)
	bounded(3)
	b.restart()
	fill()
	bounded(3)
	b.api(http.MethodPut, "policies/%2F/short", `{"pattern":"^jobs$","apply-to":"queues","definition":{"consumer-timeout":200}}`)
	fill()
	bounded(13)

	ch := openChannel(t, b.AMQP)
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	receive(t, consumeQueue(t, ch, "jobs", 1))
	const words = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 200 ms."
	if e := closedFor(t, closed); e.Code != 406 || !strings.HasPrefix(e.Reason, words) {
		t.Errorf("got %v, want 406 %s", e, words)
	}
	again := receive(t, consumeQueue(t, openChannel(t, b.AMQP), "jobs", 1))
	if !again.Redelivered {
		t.Error("the delivery that was not acknowledged comes again without a mark")
	}
}
