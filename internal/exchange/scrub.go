package exchange

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	// maxDescription is how many characters of a foreign text are shown.
	maxDescription = 256
	// hidden stands in a foreign text where a secret was.
	hidden = "***"
)

// Scrubber makes foreign texts fit for showing. It is not safe for concurrent
// use: each exchange has its own.
type Scrubber struct{ secrets []string }

// NewScrubber returns a Scrubber that hides secrets, empty ones aside.
func NewScrubber(secrets ...string) *Scrubber {
	s := &Scrubber{}
	s.Add(secrets...)
	return s
}

// Add names more secrets to hide.
func (s *Scrubber) Add(secrets ...string) {
	for _, secret := range secrets {
		if secret != "" {
			s.secrets = append(s.secrets, secret)
		}
	}
	// The longest first, so that none leaves the end of one that begins alike.
	slices.SortStableFunc(s.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// suspicious is what may be a secret that we don't know: ids of access keys,
// JWTs, and long runs of what base64 and hex are made of. ARNs are matched
// first so that a role's path is not taken for one.
var suspicious = regexp.MustCompile(
	`\barn:[a-z-]+:[a-z]+:[a-z0-9-]*:\d{12}:[\w+=,.@:/-]{1,512}` +
		`|(?:AKIA|ASIA)[A-Z0-9]{8,}` +
		`|eyJ[\w-]{8,}(?:\.[\w-]*)*` +
		`|[A-Za-z0-9+/=_-]{40,}`)

// Describe returns a foreign text in one line, without control characters and
// secrets, of at most 256 characters.
func (s *Scrubber) Describe(text string) string {
	// What AWS adds to a refused signature is the request as it should have
	// been signed, session token included.
	text, _, _ = strings.Cut(text, "The Canonical String")
	// Both as it came and as it is shown: a secret may hold white space.
	text = s.hide(text)
	text = s.hide(strings.Join(strings.Fields(strings.Map(printable, text)), " "))
	text = suspicious.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, "arn:") {
			return match
		}
		return hidden
	})
	return shortened(text, maxDescription)
}

func (s *Scrubber) hide(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

// printable turns what can't be shown into a space: dropping it might join the
// halves of a secret.
func printable(r rune) rune {
	if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
		return ' '
	}
	return r
}

func shortened(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

// identifier matches what is shown as a code or a request's id.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// Name returns a foreign code or id, or "" if it doesn't look like one.
func (s *Scrubber) Name(text string) string {
	if !identifier.MatchString(text) || s.Describe(text) != text {
		return ""
	}
	return text
}
