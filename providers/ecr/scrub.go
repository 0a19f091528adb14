package ecr

import (
	"regexp"
	"strings"
	"unicode"
)

const (
	// maxDescription is how many characters of a foreign text are shown.
	maxDescription = 256
	// hidden stands in a foreign text where a secret was.
	hidden = "***"
)

// scrubber makes foreign texts fit for showing.
type scrubber struct{ secrets []string }

func newScrubber(secrets ...string) *scrubber {
	s := &scrubber{}
	s.add(secrets...)
	return s
}

// add names more secrets to hide.
func (s *scrubber) add(secrets ...string) {
	for _, secret := range secrets {
		if secret != "" {
			s.secrets = append(s.secrets, secret)
		}
	}
}

// suspicious is what may be a secret that we don't know: ids of access keys,
// JWTs, and long runs of what base64 and hex are made of. ARNs are matched
// first so that a role's path is not taken for one.
var suspicious = regexp.MustCompile(
	`\barn:[a-z-]+:[a-z]+:[a-z0-9-]*:\d{12}:[\w+=,.@:/-]{1,512}` +
		`|(?:AKIA|ASIA)[A-Z0-9]{8,}` +
		`|eyJ[\w-]{8,}(?:\.[\w-]*)*` +
		`|[A-Za-z0-9+/=_-]{40,}`)

// describe returns a foreign text in one line, without control characters and
// secrets, of at most maxDescription characters.
func (s *scrubber) describe(text string) string {
	// What AWS adds to a refused signature is the request as it should have
	// been signed, session token included.
	text, _, _ = strings.Cut(text, "The Canonical String")
	text = strings.Join(strings.Fields(strings.Map(printable, text)), " ")
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	text = suspicious.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, "arn:") {
			return match
		}
		return hidden
	})
	return shortened(text, maxDescription)
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

// name returns a foreign code or id, or "" if it doesn't look like one.
func (s *scrubber) name(text string) string {
	if !identifier.MatchString(text) || s.describe(text) != text {
		return ""
	}
	return text
}
