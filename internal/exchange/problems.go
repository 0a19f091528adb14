package exchange

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/imagepullsecrets/operator/providers"
)

// Problems are what is wrong with a configuration, in words for a person, all
// of them together, so that one edit is enough.
type Problems []string

// Notef adds a problem.
func (p *Problems) Notef(format string, args ...any) {
	*p = append(*p, fmt.Sprintf(format, args...))
}

// Account notes what a ServiceAccount lacks. Without its UID, one that is made
// anew would get what was given to the one before.
func (p *Problems) Account(account providers.ServiceAccount) {
	if account.Name == "" {
		p.Notef("serviceAccount.name is empty")
	}
	if account.Namespace == "" {
		p.Notef("serviceAccount.namespace is empty")
	}
	if account.Name != "" && account.UID == "" {
		p.Notef("serviceAccount %s has no UID: does it exist?", Shown(account.String()))
	}
}

// Audience notes an audience for which no token can be meant.
func (p *Problems) Audience(audience string) {
	if audience == "" || strings.ContainsFunc(audience, NotVisibleASCII) {
		p.Notef("audience must be a text without white space, not %s", Shown(audience))
	}
}

// Err returns the problems as one error of class Invalid; nil if there are none.
func (p *Problems) Err() error {
	if len(*p) == 0 {
		return nil
	}
	return providers.Errorf(providers.Invalid, "%s", strings.Join(*p, "; "))
}

// Trim removes the white space around values: `echo … | base64` leaves a line
// break at the end.
func Trim(values ...*string) {
	for _, value := range values {
		*value = strings.TrimSpace(*value)
	}
}

// Trimmed returns a copy of a list of values without the white space around
// them.
func Trimmed(values []string) []string {
	values = slices.Clone(values)
	for i := range values {
		Trim(&values[i])
	}
	return values
}

// maxShown is the length up to which a value is quoted. Secrets are longer, so
// one in the wrong place isn't shown.
const maxShown = 32

// Shown quotes a configured value for a message, unless it may be a secret.
func Shown(value string) string { return ShownUpTo(maxShown, value) }

// ShownUpTo is Shown for values that may have up to limit characters without
// being secrets.
func ShownUpTo(limit int, value string) string {
	if length := utf8.RuneCountInString(value); length > limit {
		return fmt.Sprintf("a value of %d characters", length)
	}
	return fmt.Sprintf("%q", value)
}
