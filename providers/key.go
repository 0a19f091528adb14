package providers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// HashKey makes a Provider's Key of its name and every input that decides on
// the identity. Each field is hashed behind its length, so that no two lists
// of fields are alike: "ab", "c" is not "a", "bc".
func HashKey(fields ...string) string {
	sum := sha256.New()
	for _, field := range fields {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		sum.Write(length[:])
		sum.Write([]byte(field))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Fields are the account's part of a Key.
func (a ServiceAccount) Fields() []string { return []string{a.Namespace, a.Name, a.UID} }
