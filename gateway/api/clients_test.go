package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/gateway"
)

// dial connects over AMQP with a connection name.
func (w *world) dial(user, vhost, name string) (*amqp091.Connection, error) {
	properties := amqp091.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	return amqp091.DialConfig("amqp://"+user+":"+user+"@"+w.amqp+"/", amqp091.Config{
		Vhost: vhost, Properties: properties, Heartbeat: 10e9,
	})
}

func TestConnections(t *testing.T) {
	w := newWorld(t)
	conn, err := w.dial("device", "/", "my program")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	w.must(ch.Qos(7, 0, false))
	w.must(ch.Confirm(false))
	_, err = ch.QueueDeclare("mine", false, false, true, false, nil)
	w.must(err)
	_, err = ch.Consume("mine", "tag", false, true, false, false, amqp091.Table{"x": int32(1)})
	w.must(err)

	list := w.want(200, "GET", "connections/", "").list(t)
	if len(list) != 1 {
		t.Fatalf("connections: got %v", list)
	}
	c := list[0]
	properties, _ := c["client_properties"].(map[string]any)
	if c["user"] != "device" || c["vhost"] != "/" || c["protocol"] != "AMQP 0-9-1" || c["channels"] != 1.0 ||
		c["user_provided_name"] != "my program" || properties["connection_name"] != "my program" || c["timeout"] != 10.0 {
		t.Errorf("connection: got %v", c)
	}
	name, _ := c["name"].(string)
	path := "connections/" + url.PathEscape(name)
	w.want(200, "GET", path, "")
	if got := w.want(200, "GET", path+"/channels", "").list(t); len(got) != 1 || got[0]["prefetch_count"] != 7.0 ||
		got[0]["confirm"] != true || got[0]["consumer_count"] != 1.0 || got[0]["name"] != name+" (1)" {
		t.Errorf("channels: got %v", got)
	}
	w.want(200, "GET", "channels/"+url.PathEscape(name+" (1)"), "")
	if got := w.want(200, "GET", "consumers/%2F", "").list(t); len(got) != 1 || got[0]["consumer_tag"] != "tag" ||
		got[0]["exclusive"] != true || got[0]["ack_required"] != true || got[0]["prefetch_count"] != 7.0 {
		t.Errorf("consumers: got %v", got)
	}
	_, err = ch.QueueDeclare("one at a time", false, false, true, false, amqp091.Table{"x-single-active-consumer": true})
	w.must(err)
	for i, active := range []bool{true, false} {
		_, err = ch.Consume("one at a time", "", false, false, false, false, nil)
		w.must(err)
		status := map[bool]string{true: "up", false: "waiting"}[active]
		got := w.want(200, "GET", "queues/%2F/one%20at%20a%20time", "").object(t)
		details, _ := got["consumer_details"].([]any)
		if tag, _ := got["single_active_consumer_tag"].(string); tag == "" || got["exclusive_consumer_tag"] != nil {
			t.Errorf("tags: got %v", got)
		}
		if len(details) != i+1 || !slices.ContainsFunc(details, func(d any) bool {
			o, _ := d.(map[string]any)
			return o["active"] == active && o["activity_status"] == status
		}) {
			t.Errorf("consumers of a queue with a single active one: got %v", details)
		}
	}
	queue := w.want(200, "GET", "queues/%2F/mine", "").object(t)
	owner, _ := queue["owner_pid_details"].(map[string]any)
	if queue["exclusive"] != true || queue["consumers"] != 1.0 || owner["name"] != name {
		t.Errorf("queue: got %v", queue)
	}

	if queue["exclusive_consumer_tag"] != "tag" || queue["single_active_consumer_tag"] != nil {
		t.Errorf("tags: got %v", queue)
	}
	for _, q := range w.want(200, "GET", "queues", "").list(t) { // as of one queue alone
		mine, active := q["exclusive_consumer_tag"], q["single_active_consumer_tag"]
		if is := q["name"] == "mine"; is && mine != "tag" || !is && mine != nil || (q["name"] == "one at a time") != (active != nil) {
			t.Errorf("tags in the list: got %v", q)
		}
	}
	for query, want := range map[string][2]bool{
		"": {true, true}, "?disable_stats=true": {false, false},
		"?disable_stats=true&enable_queue_totals=true": {true, false},
	} {
		for _, q := range w.want(200, "GET", "queues"+query, "").list(t) {
			_, messages := q["messages_ready"]
			_, consumers := q["consumers"]
			if got := [2]bool{messages, consumers}; got != want || q["name"] == nil {
				t.Errorf("queues%s: got %v", query, q)
			}
		}
	}

	// Others see nothing of it, and may not end it.
	if got := w.as("helper", "GET", "connections", "").list(t); len(got) != 0 {
		t.Errorf("connections of a foreign user: got %v", got)
	}
	for _, user := range []string{"helper", "watch"} {
		if got := w.as(user, "DELETE", path, ""); got.status != 401 {
			t.Errorf("%s ends a foreign connection: got %d", user, got.status)
		}
	}
	w.want(404, "DELETE", "connections/none", "")

	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	w.want(204, "DELETE", path, "")
	if got := <-closed; got.Code != 320 || got.Reason != "CONNECTION_FORCED - Closed via management plugin" {
		t.Errorf("closed: got %v", got)
	}
}

// TestChannelState checks what is told of confirms, transactions and bytes.
func TestChannelState(t *testing.T) {
	w := newWorld(t)
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	w.must(ch.Tx())
	_, err = ch.QueueDeclare("q", false, false, false, false, nil)
	w.must(err)
	w.must(ch.Publish("", "q", false, false, amqp091.Publishing{Body: []byte("x")}))
	w.must(ch.TxCommit())
	_, ok, err := ch.Get("q", false)
	if err != nil || !ok {
		t.Fatalf("get: got %v, %v", ok, err)
	}
	w.must(ch.Ack(1, false))
	for range 2 {
		w.must(ch.Publish("", "q", false, false, amqp091.Publishing{Body: []byte("x")}))
	}
	w.must(ch.Qos(1, 0, false)) // its answer tells that the publishes have arrived
	channel := func() map[string]any {
		t.Helper()
		got := w.want(200, "GET", "channels", "").list(t)
		if len(got) != 1 {
			t.Fatalf("channels: got %v", got)
		}
		return got[0]
	}
	for _, want := range []struct {
		after           func() error
		publishes, acks float64
	}{
		{func() error { return nil }, 2, 1},
		{ch.TxRollback, 0, 0},
		{func() error { return ch.Ack(1, false) }, 0, 1},
		{ch.TxCommit, 0, 0},
	} {
		w.must(want.after())
		w.must(ch.Qos(1, 0, false))
		got := channel()
		if got["transactional"] != true || got["confirm"] != false ||
			got["messages_uncommitted"] != want.publishes || got["acks_uncommitted"] != want.acks {
			t.Errorf("got %v, want %v publishes and %v acks", got, want.publishes, want.acks)
		}
	}
	w.must(ch.Close())
	if ch, err = conn.Channel(); err != nil {
		t.Fatal(err)
	}
	w.must(ch.Confirm(false))
	confirmation, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp091.Publishing{Body: []byte("x")})
	w.must(err)
	confirmation.Wait()
	if got := channel(); got["transactional"] != false || got["confirm"] != true || got["messages_unconfirmed"] != 0.0 {
		t.Errorf("channel with confirms: got %v", got)
	}
	list := w.want(200, "GET", "connections", "").list(t)
	if len(list) != 1 || list[0]["state"] != "running" {
		t.Fatalf("connections: got %v", list)
	}
	for _, key := range []string{"recv_oct", "send_oct"} {
		count, _ := list[0][key].(float64)
		details, _ := list[0][key+"_details"].(map[string]any)
		if rate, _ := details["rate"].(float64); count < 100 || rate <= 0 {
			t.Errorf("%s: got %v at %v, want what login takes at least", key, count, details)
		}
	}
}

func TestOverviewRates(t *testing.T) {
	w := newWorld(t)
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	w.must(err)
	_, err = ch.QueueDeclare("q", false, false, false, false, nil)
	w.must(err)
	w.must(ch.Confirm(false))
	confirmation, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp091.Publishing{Body: []byte("x")})
	w.must(err)
	confirmation.Wait()
	got := w.want(200, "GET", "overview", "").object(t)
	stats, _ := got["message_stats"].(map[string]any)
	details, _ := stats["publish_details"].(map[string]any)
	if rate, _ := details["rate"].(float64); stats["publish"] != 1.0 || rate <= 0 {
		t.Errorf("message_stats: got %v", stats)
	}
	churn, _ := got["churn_rates"].(map[string]any)
	if got["rates_mode"] != "basic" || churn["connection_created"] != 1.0 || churn["connection_closed"] != 0.0 {
		t.Errorf("overview: got %v", got)
	}
	w.want(201, "PUT", "vhosts/elsewhere", "")
	w.want(201, "PUT", "permissions/elsewhere/helper", `{"configure":".*","write":".*","read":".*"}`)
	w.want(204, "DELETE", "permissions/%2F/helper", "")
	got = w.as("helper", "GET", "overview", "").object(t)
	stats, _ = got["message_stats"].(map[string]any)
	if stats["publish"] != 0.0 || got["churn_rates"] != nil {
		t.Errorf("who may not see all got %v", got)
	}
}

// TestOctetsOfVhosts checks that what went through a connection counts for its virtual
// host, also when the connection is gone, and not for one that is made anew.
func TestOctetsOfVhosts(t *testing.T) {
	w := newWorld(t)
	octets := func() (received, sent float64) {
		t.Helper()
		v := w.want(200, "GET", "vhosts/v", "").object(t)
		received, _ = v["recv_oct"].(float64)
		sent, _ = v["send_oct"].(float64)
		return received, sent
	}
	for range 2 {
		w.want(201, "PUT", "vhosts/v", "")
		w.want(201, "PUT", "permissions/v/device", `{"configure":".*","write":".*","read":".*"}`)
		if received, sent := octets(); received != 0 || sent != 0 {
			t.Errorf("at first: got %v and %v", received, sent)
		}
		conn, err := w.dial("device", "v", "")
		w.must(err)
		received, sent := octets()
		if received == 0 || sent == 0 {
			t.Errorf("connected: got %v and %v", received, sent)
		}
		w.must(conn.Close())
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(time.Minute); len(w.want(200, "GET", "connections", "").list(t)) > 0; {
			select {
			case <-tick.C:
			case <-end:
				t.Fatal("the connection stays")
			}
		}
		if r, s := octets(); r <= received || s <= sent {
			t.Errorf("gone: got %v and %v, before %v and %v", r, s, received, sent)
		}
		w.want(204, "DELETE", "vhosts/v", "")
	}
}

// TestBlockedConnections has the disk become low: who publishes is blocked, the others
// would be.
func TestBlockedConnections(t *testing.T) {
	w := newWorld(t)
	var channels []*amqp091.Channel
	for _, user := range []string{"device", "helper"} {
		conn, err := w.dial(user, "/", "")
		w.must(err)
		defer conn.Close()
		ch, err := conn.Channel()
		w.must(err)
		channels = append(channels, ch)
	}
	_, err := channels[0].QueueDeclare("q", true, false, false, false, nil)
	w.must(err)
	states := func() string {
		var all []string
		for _, c := range w.want(200, "GET", "connections?sort=user&columns=user,state", "").list(t) {
			all = append(all, fmt.Sprint(c["user"], " ", c["state"]))
		}
		return strings.Join(all, ", ")
	}
	disk := func(free uint64, want string) {
		t.Helper()
		w.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: free, TotalBytes: 100 << 30, UsedBytes: 100<<30 - free})
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(time.Minute); states() != want; {
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("got %s, want %s", states(), want)
			}
		}
	}
	disk(50<<30, "device running, helper running")
	disk(1, "device blocking, helper blocking")
	w.must(channels[0].PublishWithContext(t.Context(), "", "q", false, false, amqp091.Publishing{DeliveryMode: 2}))
	disk(1, "device blocked, helper blocking")
	w.want(503, "GET", "health/checks/alarms", "")
	disk(50<<30, "device running, helper running")
	w.want(200, "GET", "health/checks/alarms", "")
}

func TestCloseWithReason(t *testing.T) {
	w := newWorld(t)
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+w.http+"/api/connections/username/device", nil)
	w.must(err)
	req.SetBasicAuth("boss", "boss")
	req.Header.Set("X-Reason", "maintenance")
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	resp.Body.Close()
	if got := <-closed; resp.StatusCode != http.StatusNoContent || got.Code != 320 || got.Reason != "CONNECTION_FORCED - maintenance" {
		t.Errorf("got %d and %v", resp.StatusCode, got)
	}
}

// TestDeletedAreCut checks that who loses the user or the virtual host loses
// the connection.
func TestDeletedAreCut(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", "vhosts/shop", "")
	w.want(201, "PUT", "permissions/shop/helper", `{"configure":".*","write":".*","read":".*"}`)
	device, err := w.dial("device", "/", "")
	w.must(err)
	defer device.Close()
	helper, err := w.dial("helper", "shop", "")
	w.must(err)
	defer helper.Close()
	deviceClosed := device.NotifyClose(make(chan *amqp091.Error, 1))
	helperClosed := helper.NotifyClose(make(chan *amqp091.Error, 1))
	w.want(204, "DELETE", "users/device", "")
	if got := <-deviceClosed; got.Code != 320 {
		t.Errorf("user: got %v", got)
	}
	w.want(204, "DELETE", "vhosts/shop", "")
	if got := <-helperClosed; got.Code != 320 {
		t.Errorf("virtual host: got %v", got)
	}
	if _, err := w.dial("device", "/", ""); err == nil {
		t.Error("a deleted user logged in")
	}
	var refused *amqp091.Error
	if _, err := w.dial("helper", "shop", ""); !errors.As(err, &refused) || refused.Code != 530 && refused.Code != 403 {
		t.Errorf("a deleted virtual host: got %v", err)
	}
	w.want(400, "DELETE", "vhosts/%2F", "")
}

func TestConnectionLimits(t *testing.T) {
	w := newWorld(t)
	w.want(204, "PUT", "user-limits/device/max-connections", `{"value":1}`)
	w.want(204, "PUT", "vhost-limits/%2F/max-connections", `{"value":2}`)
	w.want(400, "PUT", "vhost-limits/%2F/max-love", `{"value":2}`)
	var open []*amqp091.Connection
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for _, tc := range []struct{ user, want string }{
		{"device", ""},
		{"device", "NOT_ALLOWED - connection refused for user 'device': user connection limit (1) is reached"},
		{"helper", ""},
		{"watch", "NOT_ALLOWED - access to vhost '/' refused for user 'watch': connection limit (2) is reached"},
	} {
		conn, err := w.dial(tc.user, "/", "")
		if err == nil {
			open = append(open, conn)
		}
		var refused *amqp091.Error
		if errors.As(err, &refused) != (tc.want != "") || refused != nil && (refused.Code != 530 || refused.Reason != tc.want) {
			t.Errorf("%s: got %v, want %q", tc.user, err, tc.want)
		}
	}
	limits := w.want(200, "GET", "user-limits", "").list(t)
	if !slices.ContainsFunc(limits, func(l map[string]any) bool { return l["user"] == "device" }) {
		t.Errorf("user-limits: got %v", limits)
	}
	w.want(204, "DELETE", "user-limits/device/max-connections", "")
	w.want(204, "DELETE", "vhost-limits/%2F/max-connections", "")
	conn, err := w.dial("device", "/", "")
	w.must(err)
	open = append(open, conn)
}

// open dials as a user; the connection ends with the test.
func (w *world) open(user string) *amqp091.Connection {
	w.t.Helper()
	conn, err := w.dial(user, "/", "")
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) channel(conn *amqp091.Connection) *amqp091.Channel {
	w.t.Helper()
	ch, err := conn.Channel()
	w.must(err)
	return ch
}

// noChannel wants one more channel to be refused.
func (w *world) noChannel(conn *amqp091.Connection, want string) {
	w.t.Helper()
	_, err := conn.Channel()
	var e *amqp091.Error
	if !errors.As(err, &e) || e.Code != 530 || e.Reason != want {
		w.t.Errorf("got %v, want %q", err, want)
	}
}

// TestChannelLimits opens channels up to the limit of a user, over two of its
// connections.
func TestChannelLimits(t *testing.T) {
	w := newWorld(t)
	w.want(204, "PUT", "user-limits/device/max-channels", `{"value":2}`)
	w.want(400, "PUT", "vhost-limits/%2F/max-channels", `{"value":2}`)
	one, two := w.open("device"), w.open("device")
	first := w.channel(one)
	w.channel(two)
	w.must(first.Close())
	w.channel(one) // in place of the first
	w.noChannel(two, "NOT_ALLOWED - number of channels opened for user 'device' has reached the maximum allowed user limit of (2)")
	w.channel(w.open("boss"))
}

// TestNodeChannelLimit opens channels up to the limit of the broker.
func TestNodeChannelLimit(t *testing.T) {
	w := newWorld(t, func(cfg *gateway.Config) { cfg.MaxChannels = 2 })
	w.channel(w.open("boss"))
	w.channel(w.open("device"))
	w.noChannel(w.open("watch"), "NOT_ALLOWED - number of channels opened on node 'node' has reached the maximum allowed limit of (2)")
}

// TestNodeConnectionLimit tells a client that comes when the broker is full why it
// is refused.
func TestNodeConnectionLimit(t *testing.T) {
	w := newWorld(t, func(cfg *gateway.Config) { cfg.MaxConnections = 1 })
	conn, err := w.dial("device", "/", "")
	w.must(err)
	defer conn.Close()
	_, err = w.dial("boss", "/", "")
	var e *amqp091.Error
	if !errors.As(err, &e) || e.Code != 530 || e.Reason != "NOT_ALLOWED - connection refused: node connection limit (1) is reached" {
		t.Errorf("got %v", err)
	}
}
