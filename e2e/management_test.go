package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	amqp "github.com/rabbitmq/amqp091-go"
)

// needsHTTP skips a test of the API on a broker that is not ours.
func (b *broker) needsHTTP() {
	b.t.Helper()
	if b.HTTP == "" {
		b.t.Skip("the broker under test has no API of Tidegate's")
	}
}

// manage runs the Python program against the broker's API.
func (b *broker) manage(mode, stdin string) string {
	b.t.Helper()
	cmd := exec.CommandContext(within(b.t), python, "clients/management.py", "http://"+b.HTTP, mode)
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("management.py %s: %v\n%s", mode, err, errs.String())
	}
	return string(out)
}

// cli runs a command of the binary that speaks to the broker's API.
func (b *broker) cli(args ...string) (string, error) {
	b.t.Helper()
	path, err := builtBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.CommandContext(within(b.t), path, append(args, "--url", "http://"+b.HTTP)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs a command that has to work.
func (b *broker) must(args ...string) string {
	b.t.Helper()
	out, err := b.cli(args...)
	if err != nil {
		b.t.Fatalf("tidegate %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// closedFor waits for the channel's end and returns the reason.
func closedFor(t *testing.T, closed <-chan *amqp.Error) *amqp.Error {
	t.Helper()
	select {
	case e := <-closed:
		if e == nil {
			t.Fatal("closed without a reason")
		}
		return e
	case <-time.After(patience):
		t.Fatalf("not closed within %v", patience)
	}
	return nil
}

// TestManagement has a program make users and permissions over the API, and
// clients of both protocols find them at work.
func TestManagement(t *testing.T) {
	b := startBroker(t, 1)
	b.needsHTTP()
	needsPython(t, "urllib.request")
	b.manage("setup", "")

	t.Run("AMQP", func(t *testing.T) {
		if _, err := amqp.Dial("amqp://clerk:wrong@" + b.AMQP + "/shop"); !errors.Is(err, amqp.ErrCredentials) {
			t.Errorf("wrong password: got %v", err)
		}
		var refused *amqp.Error
		_, err := amqp.Dial("amqp://clerk:clerk-secret@" + b.AMQP + "/")
		if !errors.As(err, &refused) || refused.Code != 530 ||
			refused.Reason != "NOT_ALLOWED - access to vhost '/' refused for user 'clerk'" {
			t.Errorf("foreign virtual host: got %v", err)
		}
		conn, err := amqp.Dial("amqp://clerk:clerk-secret@" + b.AMQP + "/shop")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = channelOn(t, conn).QueueDeclare("other", true, false, false, false, nil)
		want := "ACCESS_REFUSED - configure access to queue 'other' in vhost 'shop' refused for user 'clerk'"
		if !errors.As(err, &refused) || refused.Code != 403 || refused.Reason != want {
			t.Errorf("declare: got %v, want 403 %s", err, want)
		}
		ch := channelOn(t, conn)
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.PublishWithContext(t.Context(), "amq.topic", "us.1", false, false, amqp.Publishing{}); err != nil {
			t.Fatal(err)
		}
		want = "ACCESS_REFUSED - write access to topic 'us.1' in exchange 'amq.topic' in vhost 'shop' refused for user 'clerk'"
		if e := closedFor(t, closed); e.Code != 403 || e.Reason != want {
			t.Errorf("publish: got %v, want 403 %s", e, want)
		}
		if err := channelOn(t, conn).QueueBind("orders", "eu.#", "amq.topic", false, nil); err != nil {
			t.Errorf("allowed binding: %v", err)
		}
	})
	t.Run("MQTT", func(t *testing.T) { manageMQTT(t, b) })
}

// manageMQTT logs in over MQTT as the user that the API made.
func manageMQTT(t *testing.T, b *broker) {
	conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", b.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan byte, 1)
	c := paho.NewClient(paho.ClientConfig{
		Conn:               conn,
		OnServerDisconnect: func(d *paho.Disconnect) { gone <- d.ReasonCode },
	})
	_, err = c.Connect(within(t), &paho.Connect{
		ClientID: "till", CleanStart: true, KeepAlive: 30,
		UsernameFlag: true, Username: "shop:clerk", PasswordFlag: true, Password: []byte("clerk-secret"),
	})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close()
	suback, err := c.Subscribe(within(t), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: "eu/#", QoS: 1}, {Topic: "us/#", QoS: 1},
	}})
	if suback == nil || len(suback.Reasons) != 2 || suback.Reasons[0] != 1 || suback.Reasons[1] != 0x87 {
		t.Errorf("subscribe: got %v, %v, want reasons 1 and 0x87", suback, err)
	}
	for topic, want := range map[string]byte{"eu/1": 0, "us/1": 0x87} {
		puback, err := c.Publish(within(t), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte("x")})
		if puback == nil || puback.ReasonCode != want {
			t.Errorf("publish to %s: got %v, %v, want reason %#x", topic, puback, err, want)
		}
	}
	req, err := http.NewRequestWithContext(within(t), http.MethodDelete, "http://"+b.HTTP+"/api/connections/username/clerk", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case reason := <-gone:
		if reason != 0x98 {
			t.Errorf("DISCONNECT: got %#x, want 0x98", reason)
		}
	case <-time.After(patience):
		t.Errorf("not disconnected within %v", patience)
	}
}

// TestMonitors has a program read what an autoscaler (KEDA) and a monitoring agent (Datadog)
// do, after some work of a client.
func TestMonitors(t *testing.T) {
	b := startBroker(t, 1)
	b.needsHTTP()
	needsPython(t, "urllib.request")
	conn, err := amqp.Dial(amqpURL(b.AMQP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch := channelOn(t, conn)
	for _, name := range []string{"jobs", "jobs.slow", "other"} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		d, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "jobs", true, false, amqp.Publishing{Body: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := d.WaitContext(within(t)); !ok || err != nil {
			t.Fatalf("not confirmed: %v", err)
		}
	}
	for i := range 4 {
		d, ok, err := ch.Get("jobs", false)
		if err == nil && ok && i > 0 {
			err = d.Ack(false)
		}
		if err != nil || !ok {
			t.Fatalf("get: %v, %v", ok, err)
		}
	}
	if _, err := ch.QueueDeclarePassive("jobs", true, false, false, false, nil); err != nil { // after the acks
		t.Fatal(err)
	}
	type rates struct {
		Messages       int     `json:"messages"`
		Unacknowledged int     `json:"unacknowledged"`
		Publish        float64 `json:"publish_rate"`
		Deliver        float64 `json:"deliver_rate"`
	}
	var got struct {
		Scaler struct {
			One      rates            `json:"one"`
			Matching map[string]rates `json:"matching"`
		} `json:"scaler"`
		Agent map[string]any `json:"agent"`
	}
	if err := json.Unmarshal([]byte(b.manage("monitor", "")), &got); err != nil {
		t.Fatal(err)
	}
	if one := got.Scaler.One; one.Messages != 7 || one.Unacknowledged != 1 || one.Publish <= 0 || one.Deliver <= 0 {
		t.Errorf("the queue: got %+v", one)
	}
	if m := got.Scaler.Matching; len(m) != 2 || m["jobs"].Messages != 7 || m["jobs.slow"] != (rates{}) {
		t.Errorf("queues that match: got %+v", m)
	}
	for member, want := range map[string]any{
		"queues jobs messages_ready": 6.0, "queues jobs message_stats/publish": 10.0, "queues jobs message_stats/ack": 3.0,
		"queues jobs message_stats/deliver_get": 4.0, "queues jobs.slow message_stats/publish": 0.0,
		"exchanges  message_stats/publish_in": 10.0, "overview  message_stats/confirm": 10.0,
		"overview  queue_totals/messages": 7.0, "vhosts / messages": 7.0,
	} {
		if got.Agent[member] != want {
			t.Errorf("%s: got %v, want %v", member, got.Agent[member], want)
		}
	}
}

// TestDefinitionsRebuildABroker exports the definitions and imports them into a
// broker with an empty data directory.
func TestDefinitionsRebuildABroker(t *testing.T) {
	b := startBroker(t, 1)
	b.needsHTTP()
	needsPython(t, "urllib.request")
	b.manage("setup", "")
	exported := b.manage("export", "")
	other := startBroker(t, 1)
	other.manage("import", exported)
	if got := other.manage("export", ""); got != exported {
		t.Errorf("definitions after the import:\n%s\nwant\n%s", got, exported)
	}
	conn, err := amqp.Dial("amqp://clerk:clerk-secret@" + other.AMQP + "/shop")
	if err != nil {
		t.Fatalf("login after the import: %v", err)
	}
	defer conn.Close()
	if _, err := channelOn(t, conn).QueueDeclarePassive("orders", true, false, false, false, nil); err != nil {
		t.Error(err)
	}
}

// TestClosedClientRecovers has the API close a connection whose client recovers
// by itself.
func TestClosedClientRecovers(t *testing.T) {
	b := startBroker(t, 1)
	b.needsHTTP()
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName("recovering")
	changes := make(chan *amqp.StateChanged, 16)
	conn, err := amqp.DialConfig(amqpURL(b.AMQP), amqp.Config{Properties: properties, Recovery: &amqp.Recovery{}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.NotifyStateChange(changes)
	name := conn.LocalAddr().String() + " -> " + b.AMQP
	req, err := http.NewRequestWithContext(within(t), http.MethodDelete,
		"http://"+b.HTTP+"/api/connections/"+url.PathEscape(name), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	req.Header.Set("X-Reason", "drill")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("close %s: got %s", name, resp.Status)
	}
	deadline := time.After(patience)
	for open := false; !open; {
		select {
		case c := <-changes:
			open = c.To == amqp.StateOpen
		case <-deadline:
			t.Fatal("the client did not recover")
		}
	}
	if _, err := channelOn(t, conn).QueueDeclare("after", false, true, false, false, nil); err != nil {
		t.Error(err)
	}
}

// TestAccessCommands uses the commands that look after users.
func TestAccessCommands(t *testing.T) {
	b := startBroker(t, 1)
	b.needsHTTP()
	b.must("vhost", "add", "plant", "--description", "the plant")
	b.must("user", "add", "ann", "first", "--tags", "monitoring")
	b.must("permission", "set", "plant", "ann", ".*", "^$", ".*")
	if out, err := b.cli("user", "add", "ann", "again"); err == nil || !strings.Contains(out, "exists already") {
		t.Errorf("user add again: got %v %s", err, out)
	}
	b.must("user", "passwd", "ann", "second")
	for password, ok := range map[string]bool{"first": false, "second": true} {
		conn, err := amqp.Dial("amqp://ann:" + password + "@" + b.AMQP + "/plant")
		if (err == nil) != ok {
			t.Errorf("login with %s: got %v", password, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	for _, want := range [][]string{
		{"monitoring", "user", "list"},
		{`"name": "ann"`, "user", "list", "--json"},
		{"plant", "vhost", "list"},
		{"^$", "permission", "list", "--vhost", "plant"},
	} {
		if out := b.must(want[1:]...); !strings.Contains(out, want[0]) || strings.Contains(out, "argon2id$") {
			t.Errorf("tidegate %s: got %s, want %q in it", strings.Join(want[1:], " "), out, want[0])
		}
	}
	b.must("user", "tags", "ann")
	b.must("permission", "clear", "plant", "ann")
	b.must("user", "delete", "ann")
	b.must("vhost", "delete", "plant")
	if out, err := b.cli("vhost", "delete", "plant"); err == nil || !strings.Contains(out, "Not Found") {
		t.Errorf("delete of nothing: got %v %s", err, out)
	}
}

// TestClientRabbitMQAdmin has RabbitMQ's own program declare, publish, take and delete.
// It writes booleans and numbers as strings.
func TestClientRabbitMQAdmin(t *testing.T) {
	program := needsProgram(t, "rabbitmqadmin")
	b := startBroker(t, 1)
	b.needsHTTP()
	host, port, err := net.SplitHostPort(b.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	admin := func(args ...string) string {
		t.Helper()
		return output(t, "", program, append([]string{"-H", host, "-P", port, "-u", "guest", "-p", "guest"}, args...)...)
	}
	admin("declare", "queue", "name=orders", "durable=true", "auto_delete=false", `arguments={"x-max-length":5}`)
	admin("declare", "exchange", "name=shop", "type=topic", "durable=true", "internal=false")
	admin("declare", "binding", "source=shop", "destination=orders", "routing_key=order.#")
	admin("declare", "policy", "name=short", "pattern=^orders$", `definition={"message-ttl":3600000}`, "priority=3", "apply-to=queues")
	admin("publish", "exchange=shop", "routing_key=order.new", "payload=one")
	if got := admin("-f", "raw_json", "list", "queues", "name", "messages", "durable"); !strings.Contains(got, `"orders"`) {
		t.Errorf("list queues: %s", got)
	}
	if got := admin("get", "queue=orders", "count=1", "ackmode=ack_requeue_false"); !strings.Contains(got, "one") {
		t.Errorf("get: %s", got)
	}
	admin("purge", "queue", "name=orders")
	admin("delete", "queue", "name=orders")
	admin("delete", "exchange", "name=shop")
}

// TestPressureCommand has all publishers wait, and go on, by the command line.
func TestPressureCommand(t *testing.T) {
	b := startBroker(t, 1)
	b.needsHTTP()
	const alarm = "low on memory"
	b.must("pressure", "set", "--memory-high-bytes", "1")
	if out := b.must("pressure", "show"); !strings.Contains(out, alarm) {
		t.Errorf("with a mark of 1 byte: got\n%s\nwant %q in it", out, alarm)
	}
	if out, err := b.cli("pressure", "set", "--memory-high-percent", "101"); err == nil || !strings.Contains(out, "0 to 100") {
		t.Errorf("101 %%: got %v, %s", err, out)
	}
	b.must("pressure", "set", "--memory-high-bytes", "0")
	if out := b.must("pressure", "show"); strings.Contains(out, alarm) {
		t.Errorf("without that mark: got\n%s", out)
	}
}
