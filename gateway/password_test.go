package gateway

import (
	"errors"
	"strings"
	"testing"
)

func TestHashPassword(t *testing.T) {
	stored := HashPassword("tide")
	if !strings.HasPrefix(string(stored), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("HashPassword = %q, want argon2id with 19 MiB, 2 passes, 1 lane", string(stored))
	}
	if again := HashPassword("tide"); again == stored {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	h, err := parseHash(string(stored))
	if err != nil {
		t.Fatalf("parse own hash: %v", err)
	}
	if !h.matches("tide") {
		t.Error("the right password does not match")
	}
	for _, wrong := range []string{"", "Tide", "tide "} {
		if h.matches(wrong) {
			t.Errorf("password %q matches", wrong)
		}
	}
	if got := h.String(); got != string(stored) {
		t.Errorf("encoded again: got %q, want %q", got, string(stored))
	}
}

func TestParseHashBounds(t *testing.T) {
	const salt, key = "c2FsdHNhbHRzYWx0c2FsdA", "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U"
	good := "$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + key
	if _, err := parseHash(good); err != nil {
		t.Fatalf("parse %q: %v", good, err)
	}
	for name, phc := range map[string]string{
		"empty":           "",
		"no hash":         "guest",
		"argon2i":         "$argon2i$v=19$m=65536,t=3,p=4$" + salt + "$" + key,
		"old version":     "$argon2id$v=16$m=65536,t=3,p=4$" + salt + "$" + key,
		"too much memory": "$argon2id$v=19$m=4194304,t=3,p=4$" + salt + "$" + key,
		"overflow":        "$argon2id$v=19$m=99999999999,t=3,p=4$" + salt + "$" + key,
		"too many passes": "$argon2id$v=19$m=65536,t=1000,p=4$" + salt + "$" + key,
		"no passes":       "$argon2id$v=19$m=65536,t=0,p=4$" + salt + "$" + key,
		"no lanes":        "$argon2id$v=19$m=65536,t=3,p=0$" + salt + "$" + key,
		"short salt":      "$argon2id$v=19$m=65536,t=3,p=4$c2E$" + key,
		"long key":        "$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + strings.Repeat("QUJD", 40),
		"bad base64":      "$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$***",
		"trailing field":  good + "$x",
	} {
		if _, err := parseHash(phc); !errors.Is(err, errHash) {
			t.Errorf("%s: got error %v, want %v", name, err, errHash)
		}
	}
}

func TestDummyHashMatchesNothing(t *testing.T) {
	if dummyHash().matches("") {
		t.Error("the dummy hash matches the empty password")
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5a2V5a2V5")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Fuzz(func(t *testing.T, phc string) {
		h, err := parseHash(phc)
		if err != nil {
			return
		}
		again, err := parseHash(h.String())
		if err != nil {
			t.Fatalf("hash %q is refused after encoding: %v", phc, err)
		}
		if again.String() != h.String() {
			t.Fatalf("hash %q changes: got %q, want %q", phc, again.String(), h.String())
		}
	})
}
