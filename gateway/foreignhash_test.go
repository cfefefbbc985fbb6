package gateway_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
)

// The example of RabbitMQ's documentation: salt 908DC60A, password test12.
const (
	rabbitHash      = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
	rabbitAlgorithm = "rabbit_password_hashing_sha256"
)

func TestForeignHash(t *testing.T) {
	catalog := newCatalog(t)
	stored, err := gateway.ImportHash(rabbitAlgorithm, rabbitHash)
	if err != nil {
		t.Fatal(err)
	}
	if algorithm, text := gateway.ExportHash(stored); algorithm != rabbitAlgorithm || text != rabbitHash {
		t.Errorf("export: got %s %s", algorithm, text)
	}
	put(t, catalog, metadata.User{Name: "moved", Hash: stored, Tags: []string{"management"}})
	auth := newAuth(catalog)
	login := func(password string) error {
		_, err := auth.Login(t.Context(), gateway.Login{User: "moved", Password: password})
		return err
	}
	if err := login("test13"); !errors.Is(err, gateway.ErrRefused) {
		t.Errorf("wrong password: got %v", err)
	}
	if u, _ := catalog.User("moved"); u.Hash != stored {
		t.Error("a refused login changed the hash")
	}
	for range 2 {
		if err := login("test12"); err != nil {
			t.Errorf("right password: got %v", err)
		}
		u, _ := catalog.User("moved")
		if !strings.HasPrefix(string(u.Hash), "$argon2id$") || len(u.Tags) != 1 {
			t.Errorf("after the login: hash %.12s…, tags %v", string(u.Hash), u.Tags)
		}
	}
	if err := login("test13"); !errors.Is(err, gateway.ErrRefused) {
		t.Errorf("wrong password after the new hash: got %v", err)
	}
}

func TestImportHashRefuses(t *testing.T) {
	for name, tc := range map[string][2]string{
		"md5":        {"rabbit_password_hashing_md5", rabbitHash},
		"unknown":    {"plain", "secret"},
		"no base64":  {rabbitAlgorithm, "%%%"},
		"short":      {rabbitAlgorithm, "AAAA"},
		"empty":      {rabbitAlgorithm, ""},
		"sha512":     {"rabbit_password_hashing_sha512", rabbitHash},
		"argon2id":   {gateway.AlgorithmArgon2id, "$argon2id$v=19$m=99999999,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"},
		"argon2id 2": {gateway.AlgorithmArgon2id, rabbitHash},
	} {
		if _, err := gateway.ImportHash(tc[0], tc[1]); !errors.Is(err, gateway.ErrHash) {
			t.Errorf("%s: got %v, want ErrHash", name, err)
		}
	}
	if _, err := gateway.ImportHash("", rabbitHash); err != nil {
		t.Errorf("no algorithm means SHA-256: got %v", err)
	}
}
