// Package storetest is the conformance suite of [metadata.Store]: what the
// catalog relies on, tested against any implementation.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/metadata"
)

// Compacter is what a store offers to forget history; the suite needs it.
type Compacter interface {
	Compact(ctx context.Context, rev metadata.Revision) error
}

// patience is how long the suite waits for what must happen soon.
const patience = 10 * time.Second

// Run tests a store. open returns an empty one that lives as long as its test;
// Run closes it.
func Run(t *testing.T, open func(t *testing.T) metadata.Store) {
	t.Helper()
	tests := []struct {
		name string
		test func(t *testing.T, s metadata.Store)
	}{
		{"GetPutDelete", testGetPutDelete},
		{"EmptyValueIsNotDeleted", testEmptyValue},
		{"CompareDecides", testCompare},
		{"TxnIsOneRevision", testTxnRevision},
		{"TxnWithoutEffectKeepsRevision", testTxnNoEffect},
		{"TxnRefusesTwoOpsOnOneKey", testTxnDuplicate},
		{"TxnTakesMaxOps", testTxnMax},
		{"DeletePrefix", testDeletePrefix},
		{"RangePages", testRangePages},
		{"RangeBorders", testRangeBorders},
		{"RangeRefusesNonsense", testRangeInvalid},
		{"WatchInOrder", testWatchInOrder},
		{"WatchGroupsRevision", testWatchGroups},
		{"WatchFromThePast", testWatchPast},
		{"WatchEndsWithContext", testWatchContext},
		{"Compacted", testCompacted},
		{"WatchFromTheFuture", testWatchFuture},
		{"ConcurrentTxns", testConcurrent},
		{"ValuesAreCopied", testCopies},
		{"Closed", testClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			tt.test(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("close: got %v, want nil", err)
			}
		})
	}
}

func put(t *testing.T, s metadata.Store, key, value string) metadata.Revision {
	t.Helper()
	return txn(t, s, metadata.Op{Key: key, Value: []byte(value)})
}

func txn(t *testing.T, s metadata.Store, ops ...metadata.Op) metadata.Revision {
	t.Helper()
	applied, rev, err := s.Txn(t.Context(), nil, ops)
	if err != nil || !applied {
		t.Fatalf("txn %v: got applied=%v, %v, want true, nil", ops, applied, err)
	}
	return rev
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// keys ranges over everything with the prefix, page by page.
func keys(t *testing.T, s metadata.Store, prefix string, page int, at metadata.Revision) []string {
	t.Helper()
	var out []string
	after := ""
	for {
		kvs, rev, err := s.Range(t.Context(), prefix, after, page, at)
		if err != nil {
			t.Fatalf("range %q after %q: %v", prefix, after, err)
		}
		at = rev
		for _, kv := range kvs {
			out = append(out, kv.Key)
			after = kv.Key
		}
		if len(kvs) < page {
			return out
		}
	}
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s: got differs from want (-want +got):\n%s", what, d)
	}
}

func compacter(t *testing.T, s metadata.Store) Compacter {
	t.Helper()
	c, ok := s.(Compacter)
	if !ok {
		t.Fatalf("%T can't compact", s)
	}
	return c
}

func name(i int) string { return fmt.Sprintf("/k/%04d", i) }
