package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/tidegate/tidegate/metadata"
)

// maxCredentials bounds the remembered logins; each takes about 250 bytes.
const maxCredentials = 10_000

// credentials remembers which logins were found right, so that a client that
// comes again is not hashed again. It holds no password: an entry is named by
// an HMAC under a key that only this process has, and counts only while the
// user's stored hash is the one that was verified.
type credentials struct {
	key [sha256.Size]byte

	mu    sync.Mutex
	known map[[sha256.Size]byte]metadata.Secret // login → stored hash; under mu
}

func newCredentials() *credentials {
	c := &credentials{known: make(map[[sha256.Size]byte]metadata.Secret)}
	rand.Read(c.key[:]) // never fails
	return c
}

func (c *credentials) name(user, password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, c.key[:])
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(user)))
	mac.Write(length[:])
	mac.Write([]byte(user))
	mac.Write([]byte(password))
	mac.Sum(sum[:0])
	return sum
}

func (c *credentials) has(user, password string, hash metadata.Secret) bool {
	name := c.name(user, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	verified, ok := c.known[name]
	if ok && verified != hash {
		delete(c.known, name)
	}
	return ok && verified == hash
}

func (c *credentials) add(user, password string, hash metadata.Secret) {
	name := c.name(user, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxCredentials {
		for other := range c.known {
			delete(c.known, other)
			break
		}
	}
	c.known[name] = hash
}
