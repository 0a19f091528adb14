package fakecloud

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// FuzzOnlyWhatAnIssuerSignedIsVerified changes a good token in every way: what is
// still accepted must say what was signed.
func FuzzOnlyWhatAnIssuerSignedIsVerified(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	const payload = `{"iss":"https://i","sub":"s","aud":["a"],"exp":4102444800,"iat":1}`
	known := newIssuers(func() time.Time { return time.Unix(1800000000, 0) })
	known.add(Issuer{URL: "https://i"}) // has no server: its keys are at hand
	for algorithm, key := range map[jose.SignatureAlgorithm]jose.JSONWebKey{
		jose.ES256: {Key: key, KeyID: "ec"},
		jose.RS256: {Key: rsaKey, KeyID: "rsa"},
	} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
		if err != nil {
			f.Fatal(err)
		}
		object, err := signer.Sign([]byte(payload))
		if err != nil {
			f.Fatal(err)
		}
		token, err := object.CompactSerialize()
		if err != nil {
			f.Fatal(err)
		}
		keys := &known.known["https://i"].keys
		keys.Keys = append(keys.Keys, key.Public())
		if _, failure := known.verify(f.Context(), token); failure != nil {
			f.Fatalf("a good token is refused: %v", failure)
		}
		parts := strings.Split(token, ".")
		f.Add(parts[0], parts[1], parts[2])
		f.Add("eyJhbGciOiJub25lIn0", parts[1], "")
		f.Add("eyJhbGciOiJIUzI1NiIsImtpZCI6ImVjIn0", parts[1], parts[2])
		f.Add(parts[0], "eyJpc3MiOiJodHRwczovL2kifQ", parts[2])
	}
	f.Fuzz(func(t *testing.T, header, body, signature string) {
		claims, failure := known.verify(t.Context(), header+"."+body+"."+signature)
		if failure != nil {
			if tokenProblemTexts[failure.problem] == "" {
				t.Errorf("the problem %d has no text", failure.problem)
			}
			return
		}
		if claims.Issuer != "https://i" || claims.Subject != "s" || claims.Expiry.Unix() != 4102444800 {
			t.Errorf("claims that nobody signed were verified: %+v", claims)
		}
	})
}
