package metadata_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// odd are names that a careless key or JSON would lose or confuse.
var odd = []string{"", "/", "//", "%", "%2F", "a/b", "a%2Fb", "..", "ü", "\xff\xfe", "a\x00b", "q", "x", " ", "\"", "<&>"}

// TestOddNames declares every odd name as everything and reads it back through
// another catalog.
func TestOddNames(t *testing.T) {
	store := memory.New()
	c := open(t, store)
	for _, ns := range odd {
		if _, err := c.CreateNamespace(t.Context(), metadata.Namespace{Name: ns}); err != nil {
			t.Fatal(err)
		}
		for i, name := range odd {
			q := metadata.Queue{Namespace: ns, Name: name, Stream: uint64(i)}
			if _, created, err := c.CreateQueue(t.Context(), q); err != nil || !created {
				t.Fatalf("create queue %q: got %v, %v, want true, nil", name, created, err)
			}
			b := metadata.Binding{Namespace: ns, Source: "amq.topic", Dest: name, Key: name}
			if created, err := c.CreateBinding(t.Context(), b); err != nil || !created {
				t.Fatalf("bind %q: got %v, %v, want true, nil", name, created, err)
			}
		}
	}
	other := open(t, store)
	if got := len(other.Namespaces()); got != len(odd) {
		t.Errorf("namespaces: got %d, want %d", got, len(odd))
	}
	for _, ns := range odd {
		for i, name := range odd {
			if q, ok := other.Queue(ns, name); !ok || q.Stream != uint64(i) || q.Name != name || q.Namespace != ns {
				t.Errorf("queue %q in %q: got %+v, %v, want stream %d", name, ns, q, ok, i)
			}
		}
		for _, b := range other.Bindings(ns) {
			if b.Key != b.Dest || b.Source != "amq.topic" || b.Namespace != ns {
				t.Errorf("binding in %q: got %+v", ns, b)
			}
		}
		if got := len(other.Bindings(ns)); got != len(odd) {
			t.Errorf("bindings in %q: got %d, want %d", ns, got, len(odd))
		}
	}
}

func TestArguments(t *testing.T) {
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	tests := []struct{ in, want any }{
		{int8(-3), int64(-3)},
		{uint16(9), int64(9)},
		{int64(math.MaxInt64), int64(math.MaxInt64)},
		{int64(math.MinInt64), int64(math.MinInt64)},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{int64(1)<<53 + 1, int64(1)<<53 + 1},
		{2.5, 2.5},
		{float32(0.5), 0.5},
		{1e300, 1e300},
		{3.0, int64(3)},
		{true, true},
		{nil, nil},
		{"text", "text"},
		{"\xff", "\xff"},
		{[]byte("raw"), []byte("raw")},
		{at, at},
		{[]any{1, "a", nil}, []any{int64(1), "a", nil}},
		{map[string]any{"$bytes": 1, "\xff": "x"}, map[string]any{"$bytes": int64(1), "\xff": "x"}},
		{map[string]any{"deep": map[string]any{"er": int32(4)}}, map[string]any{"deep": map[string]any{"er": int64(4)}}},
	}
	store := memory.New()
	c := open(t, store)
	declare(t, c, "namespace")
	for i, tt := range tests {
		q := metadata.Queue{Namespace: "n", Name: strconv.Itoa(i), Args: map[string]any{"a": tt.in, "$b": tt.in}}
		now, _, err := c.CreateQueue(t.Context(), q)
		if err != nil {
			t.Errorf("argument %v: %v", tt.in, err)
			continue
		}
		want := map[string]any{"a": tt.want, "$b": tt.want}
		if d := cmp.Diff(want, now.Args); d != "" {
			t.Errorf("argument %v as created: got differs (-want +got):\n%s", tt.in, d)
		}
	}
	other := open(t, store)
	for i, tt := range tests {
		got, _ := other.Queue("n", strconv.Itoa(i))
		if d := cmp.Diff(map[string]any{"a": tt.want, "$b": tt.want}, got.Args); d != "" {
			t.Errorf("argument %v as read: got differs (-want +got):\n%s", tt.in, d)
		}
	}
}

func TestArgumentsRefused(t *testing.T) {
	c := open(t, memory.New())
	declare(t, c, "namespace")
	deep := map[string]any{}
	for range 100 {
		deep = map[string]any{"d": deep}
	}
	for _, args := range []map[string]any{{"a": struct{}{}}, {"a": math.NaN()}, {"a": []int{1}}, deep} {
		_, _, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q", Args: args})
		wantError(t, "queue", err, metadata.ErrInvalid)
		b := binding("amq.topic", "q", "k", false)
		b.Args = args
		_, err = c.CreateBinding(t.Context(), b)
		wantError(t, "binding", err, metadata.ErrInvalid)
	}
}

// TestNewerVersion meets values of a later Tidegate.
func TestNewerVersion(t *testing.T) {
	store := memory.New()
	c := open(t, store)
	declare(t, c, "namespace", "queue q")
	key := "/tidegate/test/queues/n/q"
	_, rev, err := store.Txn(t.Context(), nil, []metadata.Op{{Key: key, Value: []byte(`{"v":2,"new":true}`)}})
	if err != nil {
		t.Fatal(err)
	}
	declare(t, c, "queue later") // the view has the revision before this one now
	if s := c.Status(); s.Revision < rev || len(s.Unreadable) != 1 {
		t.Errorf("status: got %+v, want one unreadable value", s)
	}
	if q, ok := c.Queue("n", "q"); !ok || q.Stream != 7 {
		t.Errorf("queue: got %+v, %v, want the one that was there", q, ok)
	}
	_, err = tryOpen(t, store)
	wantError(t, "open", err, metadata.ErrVersion)

	for _, garbage := range []string{"", "{", `{"v":0}`, `{"v":"1"}`, `{"v":1,"stream":-1}`, `{"v":1,"args":{"a":{"$time":3}}}`} {
		op := metadata.Op{Key: key, Value: []byte(garbage)}
		if _, _, err := store.Txn(t.Context(), nil, []metadata.Op{op}); err != nil {
			t.Fatal(err)
		}
		if _, err := tryOpen(t, store); err == nil {
			t.Errorf("open with %q stored: got nil, want an error", garbage)
		}
	}
}
