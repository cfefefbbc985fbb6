package gateway

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/tidegate/tidegate/metadata"
)

// A stored password is a PHC string,
//
//	$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<key>
//
// with salt and key in base64 without padding. New ones cost 19 MiB and two
// passes; those of other programs are accepted within the bounds below.
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	argonSaltLen   = 16
	argonKeyLen    = 32

	maxArgonMemoryKiB = 256 * 1024
	maxArgonPasses    = 16
	maxArgonLanes     = 16
	maxArgonFieldLen  = 64
)

// errHash is what a stored hash that is not understood gives.
var errHash = errors.New("not an argon2id hash within bounds")

// HashPassword returns the hash to store for a password.
func HashPassword(password string) metadata.Secret {
	salt := make([]byte, argonSaltLen)
	rand.Read(salt) // never fails
	h := argonHash{
		memory: argonMemoryKiB, passes: argonPasses, lanes: argonLanes,
		salt: salt, key: make([]byte, argonKeyLen),
	}
	h.key = h.derive(password)
	return metadata.Secret(h.String())
}

// argonHash is a stored hash taken apart.
type argonHash struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

// dummyHash costs as much as a real one and is matched by no password: it is
// what logins of unknown users are checked against.
func dummyHash() argonHash {
	key := make([]byte, argonKeyLen)
	rand.Read(key) // never fails
	return argonHash{
		memory: argonMemoryKiB, passes: argonPasses, lanes: argonLanes,
		salt: make([]byte, argonSaltLen), key: key,
	}
}

func parseHash(phc string) (argonHash, error) {
	fields := strings.Split(phc, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v=19" {
		return argonHash{}, errHash
	}
	var h argonHash
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); err != nil {
		return argonHash{}, fmt.Errorf("%w: %w", errHash, err)
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil {
		return argonHash{}, fmt.Errorf("%w: salt: %w", errHash, err)
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(fields[5]); err != nil {
		return argonHash{}, fmt.Errorf("%w: key: %w", errHash, err)
	}
	if !h.bounded() {
		return argonHash{}, errHash
	}
	return h, nil
}

func (h argonHash) bounded() bool {
	return h.memory >= 8 && h.memory <= maxArgonMemoryKiB &&
		h.passes >= 1 && h.passes <= maxArgonPasses &&
		h.lanes >= 1 && h.lanes <= maxArgonLanes &&
		len(h.salt) >= 8 && len(h.salt) <= maxArgonFieldLen &&
		len(h.key) >= 16 && len(h.key) <= maxArgonFieldLen
}

func (h argonHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

func (h argonHash) derive(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.key)))
}

// matches compares in constant time. It takes tens of milliseconds and h.memory.
func (h argonHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.derive(password), h.key) == 1
}
