package fakecloud_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// subject is the ServiceAccount that tokens are for unless a test says otherwise.
const subject = "system:serviceaccount:team:puller"

// issuer is what a running API server is to the cloud: it signs tokens, and
// publishes its keys to those that have its credential.
type issuer struct {
	URL    string
	server string
	client *http.Client // has the credential
	clock  *clock
	key    jose.JSONWebKey
	keys   atomic.Pointer[jose.JSONWebKeySet] // as published
	reads  atomic.Int32                       // of the keys
}

// newIssuer runs an issuer that the cloud knows, for the length of a test.
func newIssuer(t *testing.T, cloud *fakecloud.Cloud, clock *clock) *issuer {
	t.Helper()
	i := &issuer{clock: clock, key: newKey(t, "key-1"), client: &http.Client{Transport: bearing("discovery")}}
	i.publishes(i.key)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.publish(w, r, map[string]string{"issuer": i.URL})
	})
	mux.HandleFunc("GET /openid/v1/jwks", func(w http.ResponseWriter, r *http.Request) {
		i.reads.Add(1)
		i.publish(w, r, i.keys.Load())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.URL = "https://kubernetes.example/" + server.Listener.Addr().String()
	i.server = server.URL
	cloud.AddIssuer(fakecloud.Issuer{URL: i.URL, Server: i.server, Client: i.client})
	return i
}

// publishes replaces the keys that the issuer publishes by one.
func (i *issuer) publishes(key jose.JSONWebKey) {
	i.keys.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
}

func (i *issuer) publish(w http.ResponseWriter, r *http.Request, what any) {
	if r.Header.Get("Authorization") != "Bearer discovery" {
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(what)
}

// bearing sends a bearer token with every request.
type bearing string

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func newKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.ES256)}
}

// claims are those of a token of ten minutes for an audience, with changes.
func (i *issuer) claims(audience string, changes ...map[string]any) map[string]any {
	now := i.clock.Now().Unix()
	claims := map[string]any{
		"iss": i.URL, "sub": subject, "aud": []string{audience},
		"iat": now, "nbf": now, "exp": now + 600, "jti": "id",
	}
	for _, change := range changes {
		for name, value := range change {
			if value == nil {
				delete(claims, name)
			} else {
				claims[name] = value
			}
		}
	}
	return claims
}

// token signs a token for an audience, with changes to its claims.
func (i *issuer) token(t *testing.T, audience string, changes ...map[string]any) string {
	t.Helper()
	return signed(t, i.claims(audience, changes...), jose.ES256, i.key)
}

// signed signs claims by any algorithm.
func signed(t *testing.T, claims map[string]any, algorithm jose.SignatureAlgorithm, key any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ago is a claim of a time that has passed.
func (i *issuer) ago(d time.Duration) int64 { return i.clock.Now().Add(-d).Unix() }
