package api_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// orphan is one as it is listed.
type orphan struct {
	Orphan, Vhost, Name, Type string
	Oldest                    *string
	Messages                  int
}

func (w *world) orphans() (all []orphan) {
	w.t.Helper()
	w.must(json.Unmarshal([]byte(w.want(200, "GET", "orphans", "").text), &all))
	return all
}

// diskOfAnother is the disk of a broker whose metadata is gone: with a message in each
// of the queues a and b, and an empty stream s.
func diskOfAnother(t *testing.T) vfs.FS {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fs, log := vfs.NewMem(), slog.New(slog.DiscardHandler)
	catalog, err := metadata.OpenCatalog(t.Context(), memory.New(), metadata.DefaultCatalogConfig(), log)
	must(err)
	_, err = catalog.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"})
	must(err)
	broker, err := core.Open(t.Context(), core.DefaultConfig(), core.Deps{
		Dir: "data", FS: fs, Clock: clock.System, Rand: rand.Reader, Catalog: catalog, Log: log,
	})
	must(err)
	for name, args := range map[string]map[string]any{"a": nil, "b": nil, "s": {"x-queue-type": "stream"}} {
		_, err := broker.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: name, Durable: true, Args: args})
		must(err)
	}
	p, err := broker.NewPublisher("/", nil, nil)
	must(err)
	for _, name := range []string{"a", "b"} {
		_, err := p.Publish(&core.Message{Format: core.FormatAMQP, Key: []byte(name), Payload: []byte("one"), QoS: 1})
		must(err)
	}
	p.Close()
	must(errors.Join(broker.Close(), catalog.Close())) // which commits
	return fs
}

// TestOrphans lists, adopts and discards what the log has and the metadata lost.
func TestOrphans(t *testing.T) {
	w := newWorldOn(t, diskOfAnother(t))
	all := w.orphans()
	if len(all) != 3 || all[0].Name != "a" || all[0].Messages != 1 || all[0].Oldest == nil || all[0].Vhost != "/" || all[2].Oldest != nil {
		t.Fatalf("orphans: %+v, want a and b with a message each, and s", all)
	}
	a, b, s := all[0].Orphan, all[1].Orphan, all[2].Orphan
	for _, bad := range []struct {
		status             int
		method, path, body string
		contains           string
	}{
		{404, "POST", "orphans/0000000000000001/adopt", "", "Not Found"},
		{404, "POST", "orphans/1/adopt", "", "Not Found"},
		{404, "DELETE", "orphans/0000000000000001", "", "Not Found"},
		{400, "POST", "orphans/" + a + "/adopt", `{"vhost":"none"}`, "the orphan is of namespace '/'"},
		{400, "POST", "orphans/" + a + "/adopt", `{"arguments":{"x-queue-type":"zz"}}`, "unsupported queue type"},
		{401, "POST", "orphans/" + a + "/adopt", `{"name":"amq.x"}`, "reserved prefix"},
		{400, "POST", "orphans/" + a + "/adopt", `{"name":"` + strings.Repeat("x", 256) + `"}`, "1 to 255 bytes"},
		{400, "POST", "orphans/" + s + "/adopt", `{"arguments":{"x-queue-type":"classic"}}`, "another type"},
	} {
		if got := w.as("boss", bad.method, bad.path, bad.body); got.status != bad.status || !strings.Contains(got.text, bad.contains) {
			t.Errorf("%s %s %s: got %d %s, want %d with %q", bad.method, bad.path, bad.body, got.status, got.text, bad.status, bad.contains)
		}
	}
	w.want(201, "PUT", "queues/%2F/a", "")
	if got := w.as("boss", "POST", "orphans/"+a+"/adopt", ""); got.status != 400 || !strings.Contains(got.text, "adopt the orphan under another one") {
		t.Errorf("adopt beside a queue of the name: got %d %s", got.status, got.text)
	}
	w.want(201, "POST", "orphans/"+a+"/adopt", `{"name":"a.old","arguments":{"x-max-length":5}}`)
	w.want(201, "POST", "orphans/"+s+"/adopt", `{"arguments":{"x-max-age":"7D"}}`)
	if got := w.want(200, "DELETE", "orphans/"+b, "").text; !strings.Contains(got, `"messages":1`) {
		t.Errorf("discard: got %s", got)
	}
	if got := w.orphans(); len(got) != 0 {
		t.Errorf("orphans: %+v, want none", got)
	}
	got := w.want(200, "POST", "queues/%2F/a.old/get", `{"count":5,"ackmode":"ack_requeue_false","encoding":"auto"}`).text
	if !strings.Contains(got, `"payload":"one"`) {
		t.Errorf("get of the adopted queue: %s", got)
	}
	if got := w.want(200, "GET", "queues/%2F/s", "").text; !strings.Contains(got, `"x-max-age":"7D"`) {
		t.Errorf("the adopted stream: %s", got)
	}
}
