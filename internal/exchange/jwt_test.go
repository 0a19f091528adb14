package exchange

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func withClaims(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestParseClaims(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		token string
		want  Claims
	}{
		"all of them": {
			withClaims(`{"iss":"https://issuer.example","sub":"me","iat":1893553445,"exp":1893553445,"aud":["a"]}`),
			Claims{IssuedAt: at, ExpiresAt: at, Issuer: "https://issuer.example", Subject: "me"},
		},
		"none of them":            {withClaims(`{}`), Claims{}},
		"null":                    {withClaims(`{"exp":null,"iss":null}`), Claims{}},
		"fractions of a second":   {withClaims(`{"exp":1893553445.9}`), Claims{ExpiresAt: at}},
		"another way to write it": {withClaims(`{"exp":1.893553445e9}`), Claims{ExpiresAt: at}},
		"a time before any clock": {withClaims(`{"exp":-1,"iat":0}`), Claims{}},
		"a time after any year":   {withClaims(`{"exp":253402300800}`), Claims{}},
		"the last time of all":    {withClaims(`{"exp":253402300799}`), Claims{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}},
		"padded claims":           {"e30." + base64.URLEncoding.EncodeToString([]byte(`{"sub":"you"}`)) + ".c2ln", Claims{Subject: "you"}},
		"no signature":            {"e30.e30.", Claims{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseClaims(test.token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if got.ExpiresAt.Location() != time.UTC {
				t.Errorf("the time is in %s", got.ExpiresAt.Location())
			}
		})
	}
}

func TestParseClaimsRefuses(t *testing.T) {
	for name, test := range map[string]struct{ token, want string }{
		"nothing":                 {"", "it is not a JWT"},
		"an opaque token":         {"planted", "it is not a JWT"},
		"two parts":               {"planted.planted", "it is not a JWT"},
		"an encrypted token":      {"planted.a.b.c.d", "it is not a JWT"},
		"claims in standard text": {"e30.planted+/.c2ln", "claims are not base64"},
		"claims that are no JSON": {withClaims("planted"), "claims are not the JSON that was expected"},
		"a list":                  {withClaims(`["planted"]`), "claims are not the JSON that was expected"},
		"a text for a time":       {withClaims(`{"exp":"planted"}`), "claims are not the JSON that was expected"},
		"a time beyond numbers":   {withClaims(`{"exp":1e999}`), "claims are not the JSON that was expected"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseClaims(test.token)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzParseClaims(f *testing.F) {
	for _, seed := range []string{
		"", "a.b.c", "e30.e30.", withClaims(`{"iss":"i","sub":"s","iat":1893553445,"exp":1893557045.5}`),
		withClaims(`{"exp":1e300}`), withClaims(`{"exp":253402300799.9}`), withClaims(`{"exp":-5e-324}`), withClaims(`null`), "....",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := ParseClaims(token)
		if err != nil {
			if len(token) > 8 && strings.Contains(err.Error(), token) {
				t.Errorf("%q quotes the token", err)
			}
			return
		}
		for _, at := range []time.Time{claims.IssuedAt, claims.ExpiresAt} {
			if _, err := at.MarshalJSON(); err != nil {
				t.Errorf("%s can't be written: %v", at, err)
			}
			if !at.IsZero() && at.Before(time.Unix(0, 0)) {
				t.Errorf("%s is before any clock", at)
			}
		}
	})
}
