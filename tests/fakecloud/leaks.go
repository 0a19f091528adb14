package fakecloud

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// fragment is how many bytes of a secret in a row are a leak for certain: a
// part may be cut off where a text is too long.
const fragment = 20

// Secrets are texts that may stand in no output, in every form in which they might
// be seen, for a search that does not take longer with each of them. They are safe
// for concurrent use.
type Secrets struct {
	mu        sync.Mutex
	known     map[string]bool
	fragments map[string]bool
}

// NewSecrets makes a search for these secrets. See [Secrets.Add].
func NewSecrets(secrets ...string) *Secrets {
	s := &Secrets{known: map[string]bool{}, fragments: map[string]bool{}}
	s.Add(secrets...)
	return s
}

// Secrets returns a search for all that the cloud issued or was shown up to now:
// see [Cloud.IssuedTokens] and [Cloud.ShownTokens].
func (c *Cloud) Secrets() *Secrets {
	return NewSecrets(append(c.IssuedTokens(), c.ShownTokens()...)...)
}

// Add adds secrets to those that are searched for. It panics on one that is too
// short to be told from other texts.
func (s *Secrets) Add(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range secrets {
		if s.known[secret] {
			continue
		}
		s.known[secret] = true
		if len(secret) < fragment {
			panic(fmt.Sprintf("fakecloud: a secret of %d characters can't be searched for", len(secret)))
		}
		for _, form := range forms(secret) {
			for i := 0; i+fragment <= len(form); i += fragment {
				s.fragments[form[i:i+fragment]] = true
			}
		}
	}
}

// Len returns how many secrets are searched for.
func (s *Secrets) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known)
}

// In returns parts of secrets that stand in a text, each once: as they are, as in a
// URL, or in base64. Of every 39 characters in a row that a secret and the text
// share it finds some.
func (s *Secrets) In(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for i := 0; i+fragment <= len(text); i++ {
		if part := text[i : i+fragment]; s.fragments[part] && !slices.Contains(found, part) {
			found = append(found, part)
		}
	}
	return found
}

// forms are a secret as it is, as in a URL, and in base64 behind any other
// text: what is there of the text's last byte or the next one is left out.
func forms(secret string) []string {
	made := []string{secret, url.QueryEscape(secret)}
	for before := range 3 {
		whole := (before + len(secret)) / 3 * 3 // bytes that don't share a character with what follows
		text := []byte(strings.Repeat(" ", before) + secret)[:whole]
		from := []int{0, 4, 4}[before]
		made = append(made, base64.StdEncoding.EncodeToString(text)[from:], base64.URLEncoding.EncodeToString(text)[from:])
	}
	return made
}
