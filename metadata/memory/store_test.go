package memory_test

import (
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
	"github.com/tidegate/tidegate/metadata/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) metadata.Store { return memory.New() })
}

func TestAway(t *testing.T) {
	s := memory.New()
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(t.Context(), "/", 1, func(metadata.Revision, []metadata.Event) {}) }()
	s.SetAway(true)
	if err := <-ended; !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("watch: got %v, want %v", err, metadata.ErrUnavailable)
	}
	if _, err := s.Get(t.Context(), "/a"); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("get: got %v, want %v", err, metadata.ErrUnavailable)
	}
	s.SetAway(false)
	if _, err := s.Get(t.Context(), "/a"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("get afterwards: got %v, want %v", err, metadata.ErrNotFound)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := memory.New()
	for i := range 40_000 {
		if _, _, err := s.Txn(t.Context(), nil, []metadata.Op{{Key: "/a", Value: fmt.Append(nil, i)}}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Watch(t.Context(), "/", 1, func(metadata.Revision, []metadata.Event) {})
	if !errors.Is(err, metadata.ErrCompacted) {
		t.Errorf("watch from the first revision: got %v, want %v", err, metadata.ErrCompacted)
	}
	if kv, err := s.Get(t.Context(), "/a"); err != nil || string(kv.Value) != "39999" {
		t.Errorf("get: got %q, %v, want \"39999\"", kv.Value, err)
	}
}
