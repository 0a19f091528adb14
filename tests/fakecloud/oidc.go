package fakecloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuerAnswerLimit is the most that is read of what an issuer publishes.
const issuerAnswerLimit = 1 << 20

// Issuer is an issuer of OIDC tokens that the cloud can verify: a running API
// server, which signs the tokens of its ServiceAccounts.
type Issuer struct {
	// URL is the issuer as its tokens name it, in iss.
	URL string
	// Server is where it is reached: the cloud reads
	// <Server>/.well-known/openid-configuration and <Server>/openid/v1/jwks.
	Server string
	// Client may read both; most API servers want a credential for it. Nil means
	// http.DefaultClient.
	Client *http.Client
}

// AddIssuer lets every service of the cloud verify the tokens of an issuer, which
// is not yet to trust any: each service has its own rules for that. An issuer of
// the same URL is replaced. Its keys are read when they are first needed, and
// again for a key that is not among them.
func (c *Cloud) AddIssuer(i Issuer) { c.issuers.add(i) }

// tokenClaims are the claims of a verified token.
type tokenClaims struct {
	Issuer, Subject string
	Audience        []string
	IssuedAt        time.Time // zero if the token does not say
	NotBefore       time.Time // zero if the token does not say
	Expiry          time.Time
	ID              string
	All             map[string]any // every claim, as encoding/json decodes it
}

// tokenProblem is why a token is not accepted. Each service has its own words for
// it.
type tokenProblem int

const (
	tokenMalformed       tokenProblem = iota + 1 // no compact JWS of a JSON object with iss, sub, aud and exp
	tokenBadAlgorithm                            // another algorithm than RS256 and ES256; none and HS256 are among these
	tokenUnknownIssuer                           // no issuer of that URL
	tokenKeysUnreachable                         // the issuer's keys cannot be read
	tokenUnknownKey                              // no key ID, or one that the issuer does not publish
	tokenBadSignature                            // the signature is not by that key
	tokenExpired                                 // exp has passed
	tokenNotYetValid                             // nbf or iat is still to come
)

var tokenProblemTexts = map[tokenProblem]string{
	tokenMalformed:       "the token is malformed",
	tokenBadAlgorithm:    "the token is signed by an algorithm that is not allowed",
	tokenUnknownIssuer:   "the issuer of the token is unknown",
	tokenKeysUnreachable: "the keys of the issuer cannot be read",
	tokenUnknownKey:      "the key of the token is unknown",
	tokenBadSignature:    "the signature of the token is wrong",
	tokenExpired:         "the token has expired",
	tokenNotYetValid:     "the token is not valid yet",
}

// tokenError says why a token was refused. It holds no part of the token but its
// claims.
type tokenError struct {
	problem tokenProblem
	// claims is what the token says of itself, empty if it is malformed or of a
	// forbidden algorithm. Only with tokenExpired and tokenNotYetValid is it proved
	// by a signature.
	claims tokenClaims
	// silent says, with tokenKeysUnreachable, that the issuer did not answer at all.
	silent bool
}

func (e *tokenError) Error() string { return tokenProblemTexts[e.problem] }

// issuers are all issuers that the cloud knows.
type issuers struct {
	clock func() time.Time

	mu    sync.Mutex
	known map[string]*issuerKeys // by URL
}

// issuerKeys is an issuer and what is known of its keys.
type issuerKeys struct {
	issuer Issuer
	keys   jose.JSONWebKeySet // under issuers.mu
}

func newIssuers(clock func() time.Time) *issuers {
	return &issuers{clock: clock, known: map[string]*issuerKeys{}}
}

func (o *issuers) add(i Issuer) {
	if i.Client == nil {
		i.Client = http.DefaultClient
	}
	i.Server = strings.TrimSuffix(i.Server, "/")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[i.URL] = &issuerKeys{issuer: i}
}

// verify returns the claims of a token that a known issuer signed and that is valid
// by the cloud's clock, to the second and without leeway. Whether anybody trusts
// that issuer, and for which audience and subject, is the caller's to decide.
func (o *issuers) verify(ctx context.Context, token string) (tokenClaims, *tokenError) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return tokenClaims{}, &tokenError{problem: tokenBadAlgorithm}
	}
	if err != nil {
		return tokenClaims{}, &tokenError{problem: tokenMalformed}
	}
	claims, err := parseClaims(signed.UnsafePayloadWithoutVerification())
	if err != nil {
		return tokenClaims{}, &tokenError{problem: tokenMalformed}
	}
	key, failure := o.key(ctx, claims, signed.Signatures[0].Header)
	if failure != nil {
		return tokenClaims{}, failure
	}
	if _, err := signed.Verify(key); err != nil {
		return tokenClaims{}, &tokenError{problem: tokenBadSignature, claims: claims}
	}
	now := o.clock()
	switch {
	case !now.Before(claims.Expiry):
		return tokenClaims{}, &tokenError{problem: tokenExpired, claims: claims}
	case now.Before(claims.NotBefore), now.Before(claims.IssuedAt):
		return tokenClaims{}, &tokenError{problem: tokenNotYetValid, claims: claims}
	}
	return claims, nil
}

// parseClaims reads the payload of a token. Its error is for the caller to
// replace: it may quote the payload.
func parseClaims(payload []byte) (tokenClaims, error) {
	var known struct {
		Issuer    string       `json:"iss"`
		Subject   string       `json:"sub"`
		Audience  audience     `json:"aud"`
		ID        string       `json:"jti"`
		IssuedAt  *numericDate `json:"iat"`
		NotBefore *numericDate `json:"nbf"`
		Expiry    *numericDate `json:"exp"`
	}
	if err := json.Unmarshal(payload, &known); err != nil {
		return tokenClaims{}, err
	}
	if known.Issuer == "" || known.Subject == "" || len(known.Audience) == 0 || known.Expiry == nil {
		return tokenClaims{}, errors.New("iss, sub, aud or exp is missing")
	}
	claims := tokenClaims{
		Issuer: known.Issuer, Subject: known.Subject, Audience: known.Audience, ID: known.ID,
		IssuedAt: known.IssuedAt.time(), NotBefore: known.NotBefore.time(), Expiry: known.Expiry.time(),
	}
	err := json.Unmarshal(payload, &claims.All)
	return claims, err
}

// audience is aud, which is a list or, if it names only one, a string.
type audience []string

// UnmarshalJSON accepts both forms.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// numericDate is a time in a token, in seconds since 1970.
type numericDate float64

func (d *numericDate) time() time.Time {
	if d == nil {
		return time.Time{}
	}
	return time.Unix(int64(*d), 0)
}

// key returns the key by which a token of these claims says it is signed.
func (o *issuers) key(ctx context.Context, claims tokenClaims, header jose.Header) (jose.JSONWebKey, *tokenError) {
	o.mu.Lock()
	known, ok := o.known[claims.Issuer]
	var keys jose.JSONWebKeySet
	if ok {
		keys = known.keys
	}
	o.mu.Unlock()
	if !ok {
		return jose.JSONWebKey{}, &tokenError{problem: tokenUnknownIssuer, claims: claims}
	}
	if key, ok := usableKey(keys, header); ok {
		return key, nil
	}
	keys, err := known.issuer.readKeys(ctx)
	if err != nil {
		_, silent := errors.AsType[*url.Error](err)
		return jose.JSONWebKey{}, &tokenError{problem: tokenKeysUnreachable, claims: claims, silent: silent}
	}
	o.mu.Lock()
	known.keys = keys
	o.mu.Unlock()
	if key, ok := usableKey(keys, header); ok {
		return key, nil
	}
	return jose.JSONWebKey{}, &tokenError{problem: tokenUnknownKey, claims: claims}
}

// usableKey finds the key of a token's header by its ID. They are not all tried, for
// the real services do not.
func usableKey(keys jose.JSONWebKeySet, header jose.Header) (jose.JSONWebKey, bool) {
	at := slices.IndexFunc(keys.Keys, func(key jose.JSONWebKey) bool {
		return key.KeyID == header.KeyID && (key.Algorithm == "" || key.Algorithm == header.Algorithm) && key.IsPublic()
	})
	if at < 0 {
		return jose.JSONWebKey{}, false
	}
	return keys.Keys[at], true
}

// readKeys reads the keys that an issuer publishes, after making sure that the
// server is that issuer. jwks_uri is not followed: it may be an address that only
// pods reach.
func (i Issuer) readKeys(ctx context.Context) (jose.JSONWebKeySet, error) {
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := i.read(ctx, "/.well-known/openid-configuration", &discovery); err != nil {
		return jose.JSONWebKeySet{}, err
	}
	if discovery.Issuer != i.URL {
		return jose.JSONWebKeySet{}, errors.New("the server is another issuer")
	}
	var keys jose.JSONWebKeySet
	err := i.read(ctx, "/openid/v1/jwks", &keys)
	return keys, err
}

func (i Issuer) read(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.Server+path, nil)
	if err != nil {
		return err
	}
	response, err := i.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, response.Status)
	}
	return json.NewDecoder(io.LimitReader(response.Body, issuerAnswerLimit)).Decode(into)
}
