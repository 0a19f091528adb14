package exchange

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const plantedSecret = "planted-secret/key"

func TestDescribe(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a plain text stays":        {"Rate exceeded", "Rate exceeded"},
		"nothing stays nothing":     {"", ""},
		"white space shrinks":       {" a\r\n\tb  c ", "a b c"},
		"control characters go":     {"a\x00\x1b[31mb\u202ec\u200bd\xff", "a [31mb c d"},
		"a known secret goes":       {"key " + plantedSecret + ", twice " + plantedSecret, "key ***, twice ***"},
		"an unknown key id goes":    {"AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE", "*** and ***"},
		"a secret key goes":         {"wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab.", "***."},
		"a JWT goes":                {"token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_A end", "token *** end"},
		"a hexadecimal digest goes": {"should be " + strings.Repeat("0a1b", 16), "should be ***"},
		"a request's id stays":      {"id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"},
		"a long role's ARN stays": {
			"User: arn:aws:sts::111122223333:assumed-role/AVeryLongRoleNameWithoutAnyBreakInItAtAll/imagepullsecret-operator is not",
			"User: arn:aws:sts::111122223333:assumed-role/AVeryLongRoleNameWithoutAnyBreakInItAtAll/imagepullsecret-operator is not",
		},
		"a known secret in an ARN goes": {"arn:aws:iam::111122223333:role/" + plantedSecret, "arn:aws:iam::111122223333:role/***"},
		"the canonical string goes": {
			"does not match. The Canonical String for this request should have been 'POST\n/\n\nx-amz-security-token:abc'",
			"does not match.",
		},
		"256 characters stay":             {strings.Repeat("é ", 128), strings.TrimSpace(strings.Repeat("é ", 128))},
		"more are cut":                    {strings.Repeat("é ", 200), strings.Repeat("é ", 127) + "é…"},
		"a secret across the cut goes":    {strings.Repeat("a ", 125) + plantedSecret, strings.Repeat("a ", 125) + "***"},
		"the halves of a secret stay two": {plantedSecret[:5] + "\x00" + plantedSecret[5:], plantedSecret[:5] + " " + plantedSecret[5:]},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NewScrubber(plantedSecret, "").Describe(test.text); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestSecretsThatAreOddAreHiddenWhole(t *testing.T) {
	for name, test := range map[string]struct {
		secrets    []string
		text, want string
	}{
		"one that begins another":   {[]string{"planted", "planted-more"}, "x planted-more planted", "x *** ***"},
		"the same, added later":     {[]string{"planted-more", "planted"}, "x planted-more planted", "x *** ***"},
		"one that holds two spaces": {[]string{"a  plant"}, "x a  plant y", "x *** y"},
		"one that holds a tab":      {[]string{"a\tplant"}, "x a\tplant y", "x *** y"},
	} {
		t.Run(name, func(t *testing.T) {
			scrub := NewScrubber()
			for _, secret := range test.secrets {
				scrub.Add(secret)
			}
			if got := scrub.Describe(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestName(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a code":                {"AccessDeniedException", "AccessDeniedException"},
		"a code with an origin": {"com.amazonaws:Denied", "com.amazonaws:Denied"},
		"a request's id":        {"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"},
		"a text":                {"two words", ""},
		"a control character":   {"a\nb", ""},
		"a secret":              {"s3cret", ""},
		"a key's id":            {"AKIAIOSFODNN7EXAMPLE", ""},
		"nothing":               {"", ""},
		"a long one":            {strings.Repeat("a.", 40), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NewScrubber("s3cret").Name(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzDescribe(f *testing.F) {
	const secret = "planted-secret/key"
	for _, seed := range []string{
		"", "Rate exceeded", secret, secret[:9] + "\x00" + secret[9:], strings.Repeat("x ", 126) + secret,
		"arn:aws:iam::111122223333:role/" + secret, "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJSUzI1NiJ9." + secret, "\xff\u202e" + secret + "***",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := NewScrubber(secret).Describe(text)
		switch {
		case !utf8.ValidString(got):
			t.Errorf("%q is not UTF-8", got)
		case utf8.RuneCountInString(got) > maxDescription:
			t.Errorf("%q has %d characters", got, utf8.RuneCountInString(got))
		case strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Errorf("%q has a control character", got)
		case strings.Contains(got, secret):
			t.Errorf("%q tells the secret", got)
		}
	})
}
