package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"

	"github.com/tidegate/tidegate/metadata"
)

// Definitions of RabbitMQ carry passwords as base64 of a salt of four bytes and
// the digest of salt and password. Such a hash is stored as
//
//	$rabbitmq$<algorithm>$<base64>
//
// and replaced by an argon2id hash at the first login that it lets in.
const (
	foreignPrefix  = "$rabbitmq$"
	foreignSaltLen = 4

	// AlgorithmArgon2id is the hashing algorithm of users in definitions that
	// Tidegate exports: the hash is a PHC string.
	AlgorithmArgon2id = "argon2id"
)

// foreignAlgorithms are the digests by RabbitMQ's names. Its third one, MD5, is
// too weak to be let in.
var foreignAlgorithms = map[string]func() hash.Hash{
	"rabbit_password_hashing_sha256": sha256.New,
	"rabbit_password_hashing_sha512": sha512.New,
}

// ErrHash tells that a password hash is none that can be checked.
var ErrHash = errors.New("password hash is not usable")

// storedPassword is a stored hash that passwords are checked against.
type storedPassword interface {
	matches(password string) bool
}

// foreignHash is a hash of RabbitMQ taken apart.
type foreignHash struct {
	algorithm    func() hash.Hash
	salt, digest []byte
}

func (f foreignHash) matches(password string) bool {
	d := f.algorithm()
	d.Write(f.salt)
	d.Write([]byte(password))
	return subtle.ConstantTimeCompare(d.Sum(nil), f.digest) == 1
}

// parseStored reads a stored hash of either kind.
func parseStored(stored string) (storedPassword, error) {
	rest, foreign := strings.CutPrefix(stored, foreignPrefix)
	if !foreign {
		return parseHash(stored)
	}
	algorithm, text, _ := strings.Cut(rest, "$")
	digest, known := foreignAlgorithms[algorithm]
	if !known {
		return nil, fmt.Errorf("%w: algorithm %q", ErrHash, algorithm)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHash, err)
	}
	if len(raw) != foreignSaltLen+digest().Size() {
		return nil, fmt.Errorf("%w: %d bytes are not those of %s", ErrHash, len(raw), algorithm)
	}
	salt, sum := bytes.Clone(raw[:foreignSaltLen]), bytes.Clone(raw[foreignSaltLen:])
	return foreignHash{algorithm: digest, salt: salt, digest: sum}, nil
}

// ImportHash returns what to store for a hash from definitions: one of
// RabbitMQ's, or Tidegate's own. ErrHash: it can't be checked.
func ImportHash(algorithm, text string) (metadata.Secret, error) {
	stored := text
	if algorithm != AlgorithmArgon2id {
		if algorithm == "" {
			algorithm = "rabbit_password_hashing_sha256"
		}
		stored = foreignPrefix + algorithm + "$" + text
	}
	if _, err := parseStored(stored); err != nil {
		if errors.Is(err, ErrHash) {
			return "", err
		}
		return "", fmt.Errorf("%w: %w", ErrHash, err)
	}
	return metadata.Secret(stored), nil
}

// ForeignHash hashes a password as RabbitMQ does, for definitions and users that other
// programs write: base64 of a salt and the SHA-256 of both.
func ForeignHash(password string) string {
	salted := make([]byte, foreignSaltLen, foreignSaltLen+sha256.Size)
	_, _ = rand.Read(salted) // never fails, by its documentation
	digest := sha256.Sum256(append(bytes.Clone(salted), password...))
	return base64.StdEncoding.EncodeToString(append(salted, digest[:]...))
}

// ExportHash is the opposite of ImportHash.
func ExportHash(stored metadata.Secret) (algorithm, text string) {
	rest, foreign := strings.CutPrefix(string(stored), foreignPrefix)
	if !foreign {
		return AlgorithmArgon2id, string(stored)
	}
	algorithm, text, _ = strings.Cut(rest, "$")
	return algorithm, text
}

// rehash replaces a foreign hash that let the user in. The login does not
// depend on it: while the metadata store is away the old hash stays.
func (a *Authenticator) rehash(ctx context.Context, user, password string, old metadata.Secret) {
	hash := HashPassword(password)
	replaced, err := a.catalog.ReplaceHash(ctx, user, old, hash)
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "password hash not replaced", slog.String("user", user), slog.Any("error", err))
		return
	}
	if replaced {
		a.verified.add(user, password, hash)
	}
}
