package fakecloud

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
)

// randomBytes returns n bytes from the system's secure source, which in Go never
// fails.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// randomSecret returns n random bytes in the alphabet of base64, padding and all.
// Like real secrets it may hold "/", "+" and "=".
func randomSecret(n int) string { return base64.StdEncoding.EncodeToString(randomBytes(n)) }

// randomID returns an identifier of the shape that AWS gives to keys and roles.
func randomID(prefix string) string { return prefix + rand.Text()[:16] }

// newRequestID returns a random identifier in the form of a UUID.
func newRequestID() string {
	h := hex.EncodeToString(randomBytes(16))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
