package checker_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/e2e/checker"
)

// story tells a history and what the checker must say about it.
type story struct {
	name string
	tell func(h *checker.History, id func(seq uint64) checker.ID)
	want []checker.Kind
}

var start = time.Unix(1_700_000_000, 0)

var stories = []story{
	{"all well", func(h *checker.History, id func(uint64) checker.ID) {
		for seq := range uint64(4) {
			h.Delivered("c", id(seq+1), false)
		}
	}, nil},
	{"a maybe may stay away", func(h *checker.History, id func(uint64) checker.ID) {
		h.Attempt("p") // number 5, never confirmed
		for seq := range uint64(4) {
			h.Delivered("c", id(seq+1), false)
		}
	}, nil},
	{"a maybe may arrive", func(h *checker.History, id func(uint64) checker.ID) {
		maybe := h.Attempt("p")
		for seq := range uint64(4) {
			h.Delivered("c", id(seq+1), false)
		}
		h.Delivered("c", maybe, false)
	}, nil},
	{"loss", func(h *checker.History, id func(uint64) checker.ID) {
		h.Delivered("c", id(1), false)
		h.Delivered("c", id(2), false)
		h.Delivered("c", id(4), false)
	}, []checker.Kind{checker.Lost}},
	{"invention of a number", func(h *checker.History, id func(uint64) checker.ID) {
		for seq := range uint64(5) {
			h.Delivered("c", id(seq+1), false)
		}
	}, []checker.Kind{checker.Invented}},
	{"invention of number zero", func(h *checker.History, id func(uint64) checker.ID) {
		for seq := range uint64(5) {
			h.Delivered("c", id(seq), false)
		}
	}, []checker.Kind{checker.Invented}},
	{"invention of a publisher", func(h *checker.History, id func(uint64) checker.ID) {
		for seq := range uint64(4) {
			h.Delivered("c", id(seq+1), false)
		}
		h.Delivered("c", checker.ID{Publisher: "ghost", Seq: 1}, true)
	}, []checker.Kind{checker.Invented}},
	{"message of somebody else", func(h *checker.History, id func(uint64) checker.ID) {
		other := h.Attempt("q")
		for seq := range uint64(4) {
			h.Delivered("c", id(seq+1), false)
		}
		h.Delivered("c", other, false)
	}, []checker.Kind{checker.Invented}},
	{"reorder", func(h *checker.History, id func(uint64) checker.ID) {
		for _, seq := range []uint64{1, 3, 2, 4} {
			h.Delivered("c", id(seq), false)
		}
	}, []checker.Kind{checker.Reordered}},
	{"reorder hidden behind the mark", func(h *checker.History, id func(uint64) checker.ID) {
		for _, seq := range []uint64{1, 3, 2, 4} {
			h.Delivered("c", id(seq), true)
		}
	}, []checker.Kind{checker.Reordered}},
	{"flagged duplicate", func(h *checker.History, id func(uint64) checker.ID) {
		for _, seq := range []uint64{1, 2, 3} {
			h.Delivered("c", id(seq), false)
		}
		h.Delivered("c", id(2), true)
		h.Delivered("c", id(3), true)
		h.Delivered("c", id(4), false)
	}, nil},
	{"unflagged duplicate", func(h *checker.History, id func(uint64) checker.ID) {
		for _, seq := range []uint64{1, 2, 2, 3, 4} {
			h.Delivered("c", id(seq), false)
		}
	}, []checker.Kind{checker.Unflagged}},
	{"duplicate of a durable settlement", func(h *checker.History, id func(uint64) checker.ID) {
		h.Delivered("c", id(1), false)
		h.Settled("c", id(1), start)
		h.Crashed(start.Add(time.Second))
		h.Recovered(start.Add(time.Second))
		for _, seq := range []uint64{1, 2, 3, 4} {
			h.Delivered("c", id(seq), true)
		}
	}, []checker.Kind{checker.Unsettled}},
	{"duplicate of a young settlement", func(h *checker.History, id func(uint64) checker.ID) {
		h.Delivered("c", id(1), false)
		h.Settled("c", id(1), start)
		h.Crashed(start.Add(time.Millisecond))
		h.Recovered(start.Add(2 * time.Millisecond))
		h.Settled("c", id(1), start.Add(time.Millisecond)) // told late, acknowledged before
		h.Crashed(start.Add(time.Hour))
		for _, seq := range []uint64{1, 2, 3, 4} {
			h.Delivered("c", id(seq), true)
		}
	}, nil},
}

func TestStories(t *testing.T) {
	t.Parallel()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			h := checker.New(time.Second)
			h.Consumer("c", checker.Rules{From: []string{"p"}})
			for range 4 {
				h.Confirmed(h.Attempt("p"))
			}
			s.tell(h, func(seq uint64) checker.ID { return checker.ID{Publisher: "p", Seq: seq} })
			if diff := cmp.Diff(s.want, kinds(h.Verdict())); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnceForbidsFlaggedDuplicates(t *testing.T) {
	t.Parallel()
	h := checker.New(time.Second)
	h.Consumer("witness", checker.Rules{From: []string{"p"}, Once: true})
	id := h.Attempt("p")
	h.Confirmed(id)
	if got := h.Missing("witness"); got != 1 {
		t.Errorf("missing before delivery: got %d, want 1", got)
	}
	h.Delivered("witness", id, false)
	h.Delivered("witness", id, true)
	if diff := cmp.Diff([]checker.Kind{checker.Duplicated}, kinds(h.Verdict())); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	if got := h.Missing("witness"); got != 0 {
		t.Errorf("missing after delivery: got %d, want 0", got)
	}
}

func TestUndeclaredConsumer(t *testing.T) {
	t.Parallel()
	h := checker.New(time.Second)
	h.Delivered("nobody", h.Attempt("p"), false)
	if diff := cmp.Diff([]checker.Kind{checker.Invented}, kinds(h.Verdict())); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id := checker.ID{Publisher: "amqp-1", Seq: 42}
	for _, payload := range []string{id.String(), id.String() + " padding / 7"} {
		if got, err := checker.ParseID(payload); err != nil || got != id {
			t.Errorf("ParseID(%q): got %v, %v; want %v", payload, got, err, id)
		}
	}
	for _, payload := range []string{"", "amqp-1", "/4", "amqp-1/", "amqp-1/x", "amqp-1/-1"} {
		if got, err := checker.ParseID(payload); err == nil {
			t.Errorf("ParseID(%q): got %v, want an error", payload, got)
		}
	}
}

func kinds(vs []checker.Violation) []checker.Kind {
	var out []checker.Kind
	for _, v := range vs {
		out = append(out, v.Kind)
	}
	return out
}
