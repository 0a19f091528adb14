package dockerconfig

import (
	"fmt"
	"strings"
)

// Problem is an entry that was left out.
type Problem struct {
	// Key is the entry's key, fit to be printed: a user part is replaced by
	// ***, as it may hold a password, and a very long key is cut.
	Key string
	// Message says what is wrong with the entry and what to do. It holds no
	// part of a credential.
	Message string
}

// String names the entry and says what is wrong with it.
func (p Problem) String() string { return fmt.Sprintf("entry %q: %s", p.Key, p.Message) }

// maxPrintedKey is how much of a key a Problem repeats, in bytes.
const maxPrintedKey = 128

// printable returns a key as a Problem may show it.
func printable(key string) string {
	if at := strings.LastIndex(key, "@"); at >= 0 {
		key = "***" + key[at:]
	}
	if len(key) > maxPrintedKey {
		key = strings.ToValidUTF8(key[:maxPrintedKey], "") + "…"
	}
	return key
}
